// Coverage prints the statement coverage of a profile and fails when it is too low.
//
// Usage: coverage [-min PERCENT] [-by-package] PROFILE
//
// It counts each statement once, however many test programs ran it: with -coverpkg a
// profile names every block once per test program. Commands under tools/ are left out:
// they are not part of the product.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

type count struct{ covered, all int }

func (c count) percent() float64 {
	if c.all == 0 {
		return 0
	}
	return 100 * float64(c.covered) / float64(c.all)
}

func main() {
	least := flag.Float64("min", 0, "the least percentage of statements")
	byPackage := flag.Bool("by-package", false, "print a line for each package")
	flag.Parse()
	packages, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
	var total count
	names := make([]string, 0, len(packages))
	for name, c := range packages {
		names = append(names, name)
		total.covered += c.covered
		total.all += c.all
	}
	slices.Sort(names)
	for _, name := range names {
		if *byPackage {
			c := packages[name]
			fmt.Printf("%6.1f %%  %5d statements  %s\n", c.percent(), c.all, name)
		}
	}
	fmt.Printf("coverage: %.1f %% of %d statements, at least %.0f %% wanted\n", total.percent(), total.all, *least)
	if total.percent() < *least {
		os.Exit(1)
	}
}

// read adds up a profile by package. Each line is "file:from,to statements hits".
func read(profile string) (map[string]count, error) {
	f, err := os.Open(profile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, hit := map[string]int{}, map[string]bool{}
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		block, numbers, ok := strings.Cut(line, " ")
		var statements, hits int
		if _, err := fmt.Sscanf(numbers, "%d %d", &statements, &hits); !ok || err != nil {
			return nil, fmt.Errorf("%s: line %q is not a coverage block", profile, line)
		}
		size[block] = statements
		hit[block] = hit[block] || hits > 0
	}
	packages := map[string]count{}
	for block, statements := range size {
		name := path.Dir(block[:strings.LastIndex(block, ":")])
		if strings.Contains(name, "/tools/") {
			continue
		}
		c := packages[name]
		c.all += statements
		if hit[block] {
			c.covered += statements
		}
		packages[name] = c
	}
	return packages, scanner.Err()
}
