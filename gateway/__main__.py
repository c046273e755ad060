"""`python -m gateway` is `runs-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
