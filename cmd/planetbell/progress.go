package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// How often progress is shown: on a terminal a bar moves, elsewhere a line is added, which
// ends up in a log.
const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 10 * time.Second
)

// barWidth is that of the bar itself, in characters.
const barWidth = 30

// progress shows how far a long command is. It belongs to one goroutine.
type progress struct {
	w        io.Writer
	now      func() time.Time
	terminal bool
	what     string
	shown    time.Time
	open     bool // a bar stands on the terminal's last line
}

// newProgress shows progress on w, which is standard error as a rule.
func newProgress(w io.Writer, now func() time.Time) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, now: now, terminal: ok && term.IsTerminal(int(f.Fd())), shown: now()} //nolint:gosec // a file descriptor is a small number
}

// step tells how much of what is done. It shows it now and then only.
func (p *progress) step(what string, done, total int64) {
	if what != p.what && p.open {
		p.end()
	}
	every := lineEvery
	if p.terminal {
		every = barEvery
	}
	now := p.now()
	if last := p.open && done >= total; now.Sub(p.shown) < every && !last {
		p.what = what
		return
	}
	p.what, p.shown = what, now
	percent := int64(100)
	if total > 0 {
		percent = min(100, done*100/total)
	}
	if !p.terminal {
		p.print("%s: %d %%\n", what, percent)
		return
	}
	full := int(percent * barWidth / 100)
	p.print("\r\x1b[K%-20s [%s%s] %3d %%", what, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), percent)
	p.open = true
}

// end leaves the bar as it is and begins a new line, if there is a bar.
func (p *progress) end() {
	if p.open {
		p.print("\n")
		p.open = false
	}
}

func (p *progress) print(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format, args...) // as with printer
}
