"""Goes on with an experiment that was interrupted, wherever it ran.

python restore.py abfss://container@account.dfs.core.windows.net/tuner/pbt_ppo
"""

import argparse
import sys

import tuner as tune


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", help="its folder or URL, which it printed as it started")
    results = tune.Tuner.restore(parser.parse_args().experiment).fit()
    print(f"{results.num_terminated} trials ended, {results.num_errors} failed")
    if unfinished := len(results) - results.num_terminated - results.num_errors:
        sys.exit(f"Interrupted: {unfinished} trials are to go on")


if __name__ == "__main__":
    main()
