import sys

from distillhub.cli import main

sys.exit(main())
