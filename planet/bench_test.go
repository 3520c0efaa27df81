package planet

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// BenchmarkParseNotify is the work on a callback before anything is stored, with a
// param as long as the longest sample.
func BenchmarkParseNotify(b *testing.B) {
	raw := docsNotify + url.QueryEscape(strings.Repeat("eyJ+", 101))
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		values, err := ParseQuery(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ParseNotify(values); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseQuery and BenchmarkParseQueryOfNetURL are for comparison.
func BenchmarkParseQuery(b *testing.B) {
	raw := docsNotify + url.QueryEscape(strings.Repeat("eyJ+", 101))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseQuery(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseQueryOfNetURL(b *testing.B) {
	raw := docsNotify + url.QueryEscape(strings.Repeat("eyJ+", 101))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := url.ParseQuery(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseGroupCallEvent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		values, err := ParseQuery(docsGroupEvent)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ParseGroupCallEvent(values); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	issuer := vectorIssuer()
	at := time.Unix(1617636530, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Issue("2048", at); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFit(b *testing.B) {
	n := fullNotification()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Fit(4096, nil); err != nil {
			b.Fatal(err)
		}
	}
}
