package verdict

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// words are what stands for the names in braces, by language.
type words map[string]Text

func (w words) both(name, text string) { w[name] = Text{text, text} }

// span sets a length of time.
func (w words) span(name string, d time.Duration) {
	w[name] = Text{length(d, planet.English), length(d, planet.Japanese)}
}

// moment sets a time.
func (w words) moment(name string, t time.Time) {
	if t.IsZero() {
		w[name] = Text{"an unknown time", "不明な時刻"}
		return
	}
	w.both(name, t.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// fill puts the words into a text. A name that nothing stands for becomes "?": a test holds
// that no rule needs it.
func (w words) fill(t Text) Text {
	return Text{w.in(t.English, planet.English), w.in(t.Japanese, planet.Japanese)}
}

var braces = regexp.MustCompile(`\{[a-z_]+\}`)

func (w words) in(text string, l planet.Language) string {
	return braces.ReplaceAllStringFunc(text, func(name string) string {
		t, ok := w[name[1:len(name)-1]]
		if !ok || t.In(l) == "" {
			return "?"
		}
		return t.In(l)
	})
}

// length is a length of time for people: "0.4 ms", "40 ms", "1.5 s", "1 min 5 s".
func length(d time.Duration, l planet.Language) string {
	unit := func(number, en, ja string) string {
		if l == planet.Japanese {
			return number + ja
		}
		return number + " " + en
	}
	decimal := func(f float64) string {
		return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
	}
	d = max(d, 0) // clocks differ
	switch {
	case d < 10*time.Millisecond:
		return unit(decimal(float64(d)/float64(time.Millisecond)), "ms", "ミリ秒")
	case d < time.Second:
		return unit(strconv.FormatInt(d.Milliseconds(), 10), "ms", "ミリ秒")
	case d < time.Minute:
		return unit(decimal(d.Truncate(100*time.Millisecond).Seconds()), "s", "秒")
	case d < 2*time.Hour:
		minutes := unit(strconv.Itoa(int(d/time.Minute)), "min", "分")
		if d%time.Minute < time.Second {
			return minutes
		}
		return minutes + sep(l) + unit(strconv.Itoa(int(d%time.Minute/time.Second)), "s", "秒")
	}
	return unit(strconv.Itoa(int(d/time.Hour)), "h", "時間")
}

func sep(l planet.Language) string {
	if l == planet.Japanese {
		return ""
	}
	return " "
}

// clean makes text from outside fit for a sentence; nothing that is long, such as a token
// in the wrong place, is shown whole.
func clean(text string) string {
	text = bell.CleanName(text)
	if len(text) > 64 {
		text = strings.ToValidUTF8(text[:64], "") + "…"
	}
	return text
}

// reasonWord is what a bounded reason looks like. What does not is not shown.
var reasonWord = regexp.MustCompile(`^[A-Za-z0-9_/.-]{1,40}$`)

func reasonOf(text string) string {
	if text == "" {
		return "no reason"
	}
	if !reasonWord.MatchString(text) {
		return "unknown"
	}
	return text
}

// providers are who takes a push, by channel. A channel is one row.
var providers = map[bell.Channel]Text{
	bell.APNsVoIP:  {"APNs", "APNs"},
	bell.APNsAlert: {"APNs", "APNs"},
	bell.FCM:       {"FCM", "FCM"},
	bell.LongPoll:  {"the mailbox", "メールボックス"},
	bell.WebPush:   {"the web push service", "Web Pushサービス"},
}

// channelNames are what a device is called that does not say what it is.
var channelNames = map[bell.Channel]string{
	bell.APNsVoIP: "iOS", bell.APNsAlert: "Apple", bell.FCM: "Android", bell.LongPoll: "polling", bell.WebPush: "browser",
}
