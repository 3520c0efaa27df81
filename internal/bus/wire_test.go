package bus

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// key draws what may be in a hint.
func key(t *rapid.T, what string) string {
	return rapid.StringMatching(`[!-~]{1,128}`).Draw(t, what)
}

func drawHint(t *rapid.T) cluster.Hint {
	h := cluster.Hint{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	environment := rapid.SampledFrom([]planet.Environment{planet.Evaluation, planet.Real}).Draw(t, "environment")
	switch h.Kind {
	case cluster.HintMailbox:
		h.DeviceID = key(t, "device")
	case cluster.HintOver:
		h.Environment, h.SessionID = environment, planet.SessionID(key(t, "session"))
	case cluster.HintReceived:
		h.Environment, h.SessionID, h.DeviceID = environment, planet.SessionID(key(t, "session")), key(t, "device")
	case cluster.HintDevices:
		h.Owner = bell.Owner{Environment: environment, User: planet.UserRef{ServiceID: key(t, "service"), UserID: key(t, "user")}}
	}
	return h
}

// decode reads messages as a node does.
func decode(t interface{ Fatalf(string, ...any) }, messages []string, first uint64) (hints []cluster.Hint) {
	for i, m := range messages {
		if len(m) >= 8000 || !utf8.ValidString(m) || strings.ContainsRune(m, 0) {
			t.Fatalf("PostgreSQL would not take a message of %d bytes", len(m))
		}
		h, lines, err := decodeHeader(m)
		if err != nil || h.node != "tokyo-1" || h.run != "run" || h.seq != first+uint64(i) {
			t.Fatalf("message %d: header %+v, %v", i, h, err)
		}
		got, err := decodeHints(lines)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		hints = append(hints, got...)
	}
	return hints
}

func TestHintsTravelUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hints := rapid.SliceOfN(rapid.Custom(drawHint), 0, 300).Draw(t, "hints")
		first := rapid.Uint64Range(1, math.MaxUint64-1000).Draw(t, "first")
		got := decode(t, encode("tokyo-1", "run", first, hints), first)
		for i := range hints {
			if !valid(hints[i]) {
				t.Fatalf("%+v is not valid", hints[i])
			}
		}
		if diff := cmp.Diff(hints, got); diff != "" && len(hints)+len(got) > 0 {
			t.Fatalf("%s", diff)
		}
	})
}

func TestAHeartbeatIsOneMessage(t *testing.T) {
	if got := encode("tokyo-1", "run", 7, nil); len(got) != 1 || got[0] != "pb1\ttokyo-1\trun\t7\n" {
		t.Errorf("%q", got)
	}
}

// TestTheLongestFit: the bounds of names and of hints in a message fit one another.
func TestTheLongestFit(t *testing.T) {
	long := strings.Repeat("~", maxField)
	h := cluster.Hint{Kind: cluster.HintReceived, Environment: planet.Evaluation, SessionID: planet.SessionID(long), DeviceID: long}
	var hints []cluster.Hint
	for i := range 200 {
		h.DeviceID = fmt.Sprintf("%0*d", maxField, i)
		hints = append(hints, h)
	}
	for _, m := range encode(strings.Repeat("n", MaxNode), strings.Repeat("r", 32), math.MaxUint64-100, hints) {
		_, lines, err := decodeHeader(m)
		if err != nil || len(m) > maxMessage {
			t.Fatalf("%d bytes, %v", len(m), err)
		}
		if got, err := decodeHints(lines); err != nil || len(got) == 0 {
			t.Fatalf("%d hints, %v", len(got), err)
		}
	}
}

// TestManyShortHintsAreAllRead: their number is bounded by the message only.
func TestManyShortHintsAreAllRead(t *testing.T) {
	var hints []cluster.Hint
	for i := range 4000 {
		hints = append(hints, mail(string('!'+rune(i%90))))
	}
	if got := decode(t, encode("tokyo-1", "run", 1, hints), 1); len(got) != len(hints) {
		t.Errorf("%d of %d hints were read", len(got), len(hints))
	}
}

func TestDamagedMessagesAreRefused(t *testing.T) {
	const head = "pb1\ttokyo-1\trun\t1\n"
	for _, message := range []string{
		"", "\n", "pb1\ttokyo-1\trun\t1", "pb1\ttokyo-1\trun\n", "pb0\ttokyo-1\trun\t1\n", "pb1\t\trun\t1\n", "pb1\ttokyo-1\t\t1\n",
		"pb1\ttokyo 1\trun\t1\n", "pb1\ttokyo-1\trun\t0\n", "pb1\ttokyo-1\trun\t-1\n", "pb1\ttokyo-1\trun\t18446744073709551616\n",
		"pb1\t" + strings.Repeat("n", MaxNode+1) + "\trun\t1\n", head + strings.Repeat("z\n", maxMessage/2),
		head + "m\n", head + "m\t\n", head + "m\tphone", head + "m\tmy phone\n", head + "m\t" + strings.Repeat("x", maxField+1) + "\n",
		head + "m\tphone\n\n", head + "\tphone\n", head + "o\tmoon\tsession\n", head + "r\treal\tsession\n", head + "d\treal\tsvc\t\n",
		head + "d\treal\tsvc\tボブ\n", head + "m\tphone\nm\t\x00\n",
	} {
		_, lines, err := decodeHeader(message)
		if err == nil {
			_, err = decodeHints(lines)
		}
		if err == nil {
			t.Errorf("took %q", message)
		}
	}
}

func TestNewerReleasesMaySayMore(t *testing.T) {
	_, lines, err := decodeHeader("pb1\ttokyo-1\trun\t1\tmore\tand\tmore\nw\tsomething\nm\tphone\tand\ta\tlot\tmore\tof\tit\n")
	if err != nil {
		t.Fatal(err)
	}
	hints, err := decodeHints(lines)
	if diff := cmp.Diff([]cluster.Hint{mail("phone")}, hints); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// FuzzMessage: whatever comes, what is taken is valid, and travels on unchanged.
func FuzzMessage(f *testing.F) {
	f.Add("pb1\ttokyo-1\trun\t1\nm\tphone\no\treal\tsession\nr\tevaluation\tsession\tphone\nd\treal\tsvc\tbob\n")
	f.Add("pb1\ttokyo-1\trun\t18446744073709551615\tnew\nx\ty\nm\tphone\tmore\tand\tmore\tof\tit\n")
	f.Add("pb1\t\t\t0\n\n\n")
	f.Fuzz(func(t *testing.T, message string) {
		h, lines, err := decodeHeader(message)
		if err != nil {
			return
		}
		if !plain(h.node, MaxNode) || !plain(h.run, 32) || h.seq == 0 || len(message) > maxMessage {
			t.Fatalf("took the header %+v", h)
		}
		hints, err := decodeHints(lines)
		if err != nil {
			return
		}
		for _, hint := range hints {
			if !valid(hint) {
				t.Fatalf("took %+v", hint)
			}
		}
		again := decode(t, encode("tokyo-1", "run", 1, hints), 1)
		if diff := cmp.Diff(hints, again); diff != "" && len(hints) > 0 {
			t.Fatal(diff)
		}
	})
}

func TestTheQueueKeepsTheNewestOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(t, "size")
		q := newQueue(size, 4)
		var model []cluster.Hint
		lost := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				h := mail(rapid.StringMatching(`[a-m]`).Draw(t, "device"))
				dropped := 0
				known := false
				for _, m := range model {
					known = known || m == h
				}
				if !known {
					model = append(model, h)
				}
				if len(model) > size {
					model, dropped = model[1:], 1
				}
				lost += dropped
				if got := q.add(h); got != dropped {
					t.Fatalf("dropped %d, want %d", got, dropped)
				}
			},
			"take": func(t *rapid.T) {
				most := rapid.IntRange(1, 10).Draw(t, "most")
				got, gotLost := q.take(most)
				want := model[:min(most, len(model))]
				if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 || gotLost != lost {
					t.Fatalf("lost %d, want %d: %s", gotLost, lost, diff)
				}
				model, lost = model[len(want):], 0
				if len(model) > 0 && len(q.wake) == 0 {
					t.Fatal("hints wait, and nobody is woken")
				}
			},
			"": func(t *rapid.T) {
				if len(q.there) != len(model) || len(q.order)-q.head != len(model) || len(q.order) > 2*size+2 {
					t.Fatalf("%d known, %d in order from %d; want %d", len(q.there), len(q.order), q.head, len(model))
				}
				if len(model) > 0 && len(q.wake) == 0 {
					t.Fatal("hints wait, and nobody is woken")
				}
			},
		})
	})
}
