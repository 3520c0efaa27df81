package pages

import (
	"math"
	"strconv"
	"time"
)

// A call's waterfall lies on a scale that grows with the logarithm of time: what matters begins
// in milliseconds (the answer to Planet Cloud), goes on in tenths of seconds (providers) and
// ends after a minute, and each of these has to be seen on one line.
const knee = 5 * time.Millisecond // below it the scale is straight

// scale places times since Notify on a line of 100.
type scale struct{ span time.Duration }

// newScale makes a scale that ends at least a tenth of a second after its beginning.
func newScale(end time.Duration) scale { return scale{max(end, 100*time.Millisecond)} }

// at is the place of a time, from 0 to 100. What came before Notify is at its beginning.
func (s scale) at(d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return 100 * min(1, math.Log1p(float64(d)/float64(knee))/math.Log1p(float64(s.span)/float64(knee)))
}

// Tick is a mark on the scale.
type Tick struct {
	At    string // such as "12.50%"
	Label string
	Last  bool // its label stands left of it
}

// ticks are round times that fit on the scale without touching one another.
func (s scale) ticks(w Words) []Tick {
	marks := []Tick{{At: percent(0), Label: "0"}}
	for _, d := range []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute,
		10 * time.Minute, time.Hour, 10 * time.Hour,
	} {
		if at := s.at(d); d < s.span && at < 84 {
			marks = append(marks, Tick{At: percent(at), Label: round(w, d)})
		}
	}
	return append(marks, Tick{At: percent(100), Label: w.Length(s.span), Last: true})
}

// round is a round length without needless digits.
func round(w Words, d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	if d < time.Minute {
		return strconv.Itoa(int(d/time.Second)) + " s"
	}
	return w.rough(max(d, 2*time.Minute))
}

// Bar is a stretch of time on a lane. Class says what it is, for colours: the value of a tone,
// or "wait".
type Bar struct {
	X, Width string
	Class    string
	Title    string // what a pointer that rests on it is told
}

// Mark is a moment on a lane.
type Mark struct {
	At    string
	Class string
	Title string
}

// Lane is one line of a waterfall.
type Lane struct {
	Label   string // who
	Sub     string // by which way
	Href    string // where more of it is; empty: nowhere
	Tone    Tone
	Summary string // what came of it
	Bars    []Bar
	Marks   []Mark
}

// least is the width of a bar that is seen, in hundredths of the line.
const least = 0.7

// bar is a stretch from one time to another.
func (s scale) bar(from, to time.Duration, class, title string) Bar {
	x, end := s.at(from), s.at(to)
	width := max(end-x, least)
	x = min(x, 100-width)
	return Bar{X: percent(x), Width: percent(width), Class: class, Title: title}
}

func (s scale) mark(at time.Duration, class, title string) Mark {
	return Mark{At: percent(min(max(s.at(at), 0.4), 99.6)), Class: class, Title: title}
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }
