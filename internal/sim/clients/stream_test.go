package clients

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStreamReader(t *testing.T) {
	r := NewStreamReader(strings.NewReader("retry: 1500\n\n:\n\nevent: call\nid: 1.a\ndata: {\"x\":1}\n\n"+
		"data: one\ndata:two\n\nevent: ended\nid\ndata: {}\r\n\nid: 2.b\n\nevent: lost\nid: 3.c\ndata: x\n"), "0")
	var lines int
	r.Line = func() { lines++ }
	var got []StreamEvent
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []StreamEvent{{"call", "1.a", `{"x":1}`}, {"message", "1.a", "one\ntwo"}, {"ended", "", "{}"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Retry != 1500*time.Millisecond || r.LastID != "2.b" || lines != 20 {
		t.Errorf("retry %v, last ID %q, %d lines", r.Retry, r.LastID, lines)
	}
	for _, wrong := range []string{"retry: soon\n\n", "date: x\n\n", "data: \xff\n\n", "data: " + strings.Repeat("x", maxStreamLine) + "\n\n"} {
		if _, err := NewStreamReader(strings.NewReader(wrong), "").Next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%.20q is read, error %v", wrong, err)
		}
	}
}

func TestStreamEvents(t *testing.T) {
	end, err := ReadStreamEnd(StreamEvent{Data: `{"app_session_id":"a","why":"ended"}`})
	if err != nil || end != (StreamEnd{"a", "ended"}) {
		t.Errorf("%+v, %v", end, err)
	}
	for _, wrong := range []string{"", "[]", `{"why":"ended"}`, `{"app_session_id":"a"}`} {
		if _, err := ReadStreamEnd(StreamEvent{Data: wrong}); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
	if got := PollSession(StreamAnswer(StreamEvent{Data: `{"app_session_id":"a"}`}, time.UnixMilli(1))); got != "a" {
		t.Errorf("session %q", got)
	}
}
