package pages

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Key names a text of the catalogue. What stands before the dot is the page, or the kind of a
// value: "channel.fcm" is what people call the channel fcm.
type Key string

// text is one text in every language. %s and the like stand for the same values in the same
// order in each; a test holds that.
type text struct{ en, ja string }

// Words speaks one language. The zero value speaks English.
type Words struct{ Language planet.Language }

// T returns a text, with its values put in. A key that is not in the catalogue is shown itself;
// a test looks for such.
func (w Words) T(key Key, values ...any) string {
	t, ok := catalogue[key]
	if !ok {
		return string(key)
	}
	s := t.en
	if w.Language == planet.Japanese {
		s = t.ja
	}
	if len(values) == 0 {
		return s
	}
	return fmt.Sprintf(s, values...)
}

// Word returns what people call a value of a kind; a value that has no name, such as one of a
// newer release, is shown as it is.
func (w Words) Word(kind string, value any) string {
	s := fmt.Sprint(value)
	if s == "" {
		return "–"
	}
	key := Key(kind + "." + s)
	if _, ok := catalogue[key]; !ok {
		return strings.ReplaceAll(s, "_", " ")
	}
	return w.T(key)
}

// Length is a length of time to the digits that matter.
func (w Words) Length(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "−", -d
	}
	switch {
	case d < 10*time.Millisecond:
		return sign + strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	case d < time.Second:
		return sign + strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return sign + strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d < 2*time.Minute:
		return sign + strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Hour:
		return sign + strconv.Itoa(int(d.Round(time.Minute)/time.Minute)) + " min"
	case d < 48*time.Hour:
		return sign + strconv.Itoa(int(d.Round(time.Hour)/time.Hour)) + " h"
	}
	return sign + w.T("time.days", int(d/(24*time.Hour)))
}

// Ago says how long ago a time was, or how far ahead it is; a dash for the zero time.
func (w Words) Ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "–"
	case d < 0:
		return w.T("time.in", w.rough(-d))
	case d < 2*time.Second:
		return w.T("time.now")
	default:
		return w.T("time.ago", w.rough(d))
	}
}

// rough is a length in one unit, without fractions.
func (w Words) rough(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return w.T("time.days", int(d/(24*time.Hour)))
}

// Count is a number with its thousands apart.
func (w Words) Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// LanguageOf chooses a page's language: what its address asks for, what was chosen before, what
// the browser prefers, English. Each may be anything.
func LanguageOf(asked, chosen, accepted string) planet.Language {
	for _, s := range []string{asked, chosen} {
		if l, err := planet.ParseLanguage(s); err == nil {
			return l
		}
	}
	best, weight := planet.English, 0.0
	if len(accepted) > 200 {
		return best
	}
	for entry := range strings.SplitSeq(accepted, ",") { // RFC 9110 section 12.5.4
		tag, parameter, _ := strings.Cut(strings.TrimSpace(entry), ";")
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil || q > 1 {
				continue
			}
		}
		if l, err := planet.ParseLanguage(primary); err == nil && q > weight {
			best, weight = l, q
		}
	}
	return best
}
