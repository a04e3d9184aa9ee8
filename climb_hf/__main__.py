"""`python -m climb_hf` is the `climb` command; with `accelerate launch -m climb_hf train ...` on several processes."""

from climb_hf.cli import main

if __name__ == "__main__":
    main()
