// Scale says what planetbell needs at sizes that no machine here has: it computes nodes,
// databases and quotas from measured figures (inputs.go), and then simulates the result, with and
// without the death of a node. docs/scale.md explains what it prints.
//
// Usage: scale [-seconds N] [-seed N] [-only TEXT] [-inputs]
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	seconds := flag.Float64("seconds", 9, "length of what is measured, in simulated seconds")
	seed := flag.Uint64("seed", 1, "of chance; the same seed gives the same output")
	only := flag.String("only", "", "sizes whose name contains this")
	list := flag.Bool("inputs", true, "print the figures that all is computed from")
	flag.Parse()
	in := known
	if *list {
		sources(os.Stdout, &in)
	}
	overloaded := false
	for _, s := range sizes {
		if !strings.Contains(s.name, *only) {
			continue
		}
		p := planOf(s, &in)
		well, ill := run(&p, *seed, *seconds, &in)
		table(os.Stdout, &p, well, ill, &in)
		overloaded = overloaded || well.overloaded != "" || ill.overloaded != ""
	}
	if overloaded {
		fmt.Fprintln(os.Stderr, "scale: a size is not served by what was planned for it")
		os.Exit(1)
	}
}

// run simulates a plan as it should be, and with a node that dies a third into it.
func run(p *plan, seed uint64, seconds float64, in *inputs) (well, ill result) {
	s := p.setting(seed, seconds)
	well = simulate(s, in)
	s.dies = s.warm + seconds/3
	return well, simulate(s, in)
}
