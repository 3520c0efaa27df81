package doctor

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// How far the clock may be off. A PlanetKit access token that is dated a few seconds ahead may
// be refused (docs/line-planet.md 2); Apple and Google bear minutes.
const (
	clockOff   = 5 * time.Second
	clockWrong = time.Minute
)

// clock compares with the Date of others' answers (RFC 9110 section 6.6.1). The public address
// is not asked: behind it is this machine's clock.
func (e *exam) clock(ctx context.Context) {
	roots, ok := e.roots()
	if !ok {
		return
	}
	c := newCaller(roots, nil)
	defer c.close()
	var mu sync.Mutex
	var skews []time.Duration
	var group sync.WaitGroup
	for _, address := range e.timekeepers() {
		group.Go(func() {
			before := e.o.Now()
			response, err := c.ask(ctx, http.MethodHead, address, nil)
			if err != nil {
				return
			}
			_ = response.Body.Close()
			took := e.o.Now().Sub(before)
			date, err := http.ParseTime(response.Header.Get("Date"))
			if err != nil {
				return
			}
			// The header has whole seconds: what it says is half a second old on average.
			skew := before.Add(took / 2).Sub(date.Add(time.Second / 2))
			mu.Lock()
			defer mu.Unlock()
			skews = append(skews, skew)
		})
	}
	group.Wait()
	if len(skews) == 0 {
		e.fault("", "clock-unknown", "No answer has a date that it could be compared with.")
		return
	}
	// The kindest: of several clocks, one of theirs may be wrong.
	skew := slices.MinFunc(skews, func(a, b time.Duration) int { return cmp.Compare(a.Abs(), b.Abs()) })
	direction := "behind"
	if skew > 0 {
		direction = "ahead"
	}
	switch {
	case skew.Abs() > clockWrong:
		e.fault("", "clock-wrong", "This machine's clock is %s %s.", skew.Abs().Round(time.Second), direction)
	case skew.Abs() > clockOff:
		e.fault("", "clock-off", "This machine's clock is %s %s.", skew.Abs().Round(time.Second), direction)
	default:
		e.ok("", "This machine's clock agrees with %d other(s) to within %s.", len(skews), clockOff)
	}
}

// timekeepers are servers of others that answer with a date.
func (e *exam) timekeepers() []string {
	var all []string
	add := func(address string) {
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		add(cmp.Or(p.ServerAPIURL, p.Environment.APIBaseURL()))
		if p.FCM.Enabled() {
			add(p.FCM.BaseURL)
		}
	}
	return all[:min(len(all), 4)]
}
