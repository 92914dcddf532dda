"""`python -m provisioner`: the console script, without it being on the PATH."""

from provisioner.cli import main

if __name__ == "__main__":
    main()
