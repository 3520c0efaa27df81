package postgres

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// awkward are texts at the edges of what PostgreSQL keeps.
var awkward = []string{
	"", "a", "\x1a", "\x1a\x1a", "\x1a00", "\x1a1a", "\x1azz", "\x1a0", "a\x1a", "\x00", "a\x00b", "\xff", "a\xffb",
	"\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\ufffd", "\uffff", "\U0010ffff", "\x1a\x00\x1a\xff", "é\x80",
}

func TestEscape(t *testing.T) {
	seen := map[string]string{}
	check := func(t interface{ Errorf(string, ...any) }, s string) {
		kept := escape(s)
		if !utf8.ValidString(kept) || strings.IndexByte(kept, 0) >= 0 {
			t.Errorf("escape(%q) = %q, which PostgreSQL does not keep", s, kept)
		}
		if back := unescape(kept); back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
	}
	for _, s := range awkward {
		check(t, s)
		if other, known := seen[escape(s)]; known && other != s {
			t.Errorf("%q and %q are kept as the same", s, other)
		}
		seen[escape(s)] = s
	}
	rapid.Check(t, func(r *rapid.T) {
		check(r, string(rapid.SliceOf(rapid.SampledFrom([]byte{0, mark, '0', '1', 'a', 0x80, 0xc3, 0xa9, 0xff})).Draw(r, "bytes")))
		check(r, string(rapid.SliceOf(rapid.Byte()).Draw(r, "any bytes")))
		if s := rapid.String().Draw(r, "text"); plain(s) && escape(s) != s {
			r.Errorf("%q is kept as %q", s, escape(s))
		}
	})
}

// FuzzUnescape: nothing that is in a database makes the program panic.
func FuzzUnescape(f *testing.F) {
	for _, s := range awkward {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) { unescape(s) })
}

// Callbacks hold any bytes, and cc_param has to arrive as it was sent; see TestEscape for the
// rule. They go in by themselves and in arrays.
func TestBytesThatAreNotText(t *testing.T) {
	s := newStore(t)
	for i, text := range awkward {
		c, deliveries, _ := benchCall(int64(i))
		c.CCParam, c.AppServerData, c.Caller.UserID = planet.CCParam("secret-"+text), text, text
		deliveries[0].Reason = text
		d := bell.Device{ID: deliveries[0].DeviceID, Owner: c.CalleeOwner(), AppVersion: text, PushToken: planet.Secret(text)}
		if err := s.AddDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if _, err := s.BeginCall(t.Context(), c, deliveries, []planet.RawParam{{Name: text, Value: text}}); err != nil {
			t.Fatalf("BeginCall with %q: %v", text, err)
		}
		claim := delivery.Claim{Owner: "x", Now: c.NotifiedAt, LeaseUntil: c.NotifiedAt.Add(time.Hour), TakeAll: true, Limit: 1}
		rings, err := s.ClaimDeliveries(t.Context(), claim)
		if err != nil || len(rings) != 1 {
			t.Fatalf("%d rings, %v", len(rings), err)
		}
		got := rings[0]
		if got.Call.CCParam != c.CCParam || got.Call.AppServerData != text || got.Call.Caller.UserID != text ||
			got.Delivery.Reason != text || got.Device.PushToken != planet.Secret(text) {
			t.Errorf("%q came back as something else: %+v", text, got.Call)
		}
		journal, err := s.Journal(t.Context(), c.SessionID)
		if err != nil || len(journal) != 1 || journal[0].Params[0].Value != text {
			t.Errorf("the journal has %v, %v", journal, err)
		}
	}
}

func TestDecode(t *testing.T) {
	scan := func(oid uint32, format int16, raw []byte, to any) error {
		return record{[]pgconn.FieldDescription{{Name: "c", DataTypeOID: oid, Format: format}}, [][]byte{raw}}.Scan(to)
	}
	var n int
	var long int64
	var missing *int
	var b bool
	var text planet.Environment
	for name, err := range map[string]error{
		"text integer":   scan(pgtype.Int8OID, 0, []byte("-12"), &n),
		"binary integer": scan(pgtype.Int8OID, 1, []byte{255, 255, 255, 255, 255, 255, 255, 254}, &long),
		"nothing":        scan(pgtype.Int8OID, 1, nil, &missing),
		"text bool":      scan(pgtype.BoolOID, 0, []byte("t"), &b),
		"text":           scan(pgtype.TextOID, 1, []byte("real"), &text),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n != -12 || long != -2 || missing != nil || !b || text != planet.Real {
		t.Error(n, long, missing, b, text)
	}
	for name, err := range map[string]error{
		"a missing integer":  scan(pgtype.Int8OID, 1, nil, &n),
		"text as an integer": scan(pgtype.TextOID, 1, []byte("1"), &n),
		"too short":          scan(pgtype.Int8OID, 1, []byte{1, 2, 3}, &n),
		"an unknown type":    scan(pgtype.NumericOID, 1, []byte{1}, &n),
		"no place":           scan(pgtype.TextOID, 1, []byte("x"), text),
		"two places":         record{nil, [][]byte{nil}}.Scan(&n, &n),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	var small int8
	if err := scan(pgtype.Int8OID, 0, []byte("1000"), &small); err == nil {
		t.Error("1000 fits into eight bits")
	}
	defer func() {
		if recover() == nil {
			t.Error("an argument of a type that nobody binds is taken")
		}
	}()
	bind([]any{1.5})
}

// What is given stays as it was: a statement may be run again with it.
func TestBindChangesNothing(t *testing.T) {
	given := []string{"\x00"}
	for range 2 {
		if got := bind([]any{given})[0].([]string)[0]; unescape(got) != "\x00" || given[0] != "\x00" {
			t.Errorf("bound %q of %q", got, given[0])
		}
	}
}
