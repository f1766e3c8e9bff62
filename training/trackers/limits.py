"""How much is read of one source."""

RUNS = 2000
SERIES = 10_000  # of a run
POINTS = 5_000_000  # of a source
PARAMS = 2000  # of a run
LONGEST_NAME = 250  # of a parameter or series
LONGEST_VALUE = 6000  # characters of a parameter
LONGEST_NOTES = 20_000
TAGS = 20
LONGEST_TAG = 50
LONGEST_RUN_NAME = 200
TOLD = 100  # sentences about what is left out, of a source

FILES_OF_RUN = 1000  # that stand beside it
FILE = 512 << 20  # bytes of one of them
FILE_OF_SERVER = 64 << 20  # bytes of one that a server sends: it is held in memory
FILES_BYTES = 4 << 30  # of all of them
LONGEST_PATH = 1000

FILES = 200_000  # in an archive
UNPACKED = 8 << 30  # bytes
SMALL = 1 << 20  # bytes of a file that holds one value, or a few
LINE = 1 << 20  # characters of a line
RECORD = 64 << 20  # bytes of one record of an event file
COLUMNS = 2000
GREATEST_STEP = 2**53
