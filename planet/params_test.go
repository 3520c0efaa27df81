package planet

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/testlog"
)

func one(value string) params {
	return params{callback: "Test", values: url.Values{"x": {value}}}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		in, want string // want in RFC 3339; "" is the zero time
	}{
		{"0", ""},
		{"", ""},
		{"-1", ""},
		{"abc", ""},
		{"1", "1970-01-01T00:00:01Z"},
		{"1582527420", "2020-02-24T06:57:00Z"},
		{"1597744702514", "2020-08-18T09:58:22.514Z"},
		{"99999999999", "5138-11-16T09:46:39Z"},  // the last second
		{"100000000000", "1973-03-03T09:46:40Z"}, // the first millisecond
		{"253402300799999", "9999-12-31T23:59:59.999Z"},
		{"253402300800000", ""},
		{"9223372036854775807", ""},
		{"9223372036854775808", ""},
		{"1582527420.0", "2020-02-24T06:57:00Z"},
		{"1.58252742e9", "2020-02-24T06:57:00Z"},
		{" 1582527420 ", "2020-02-24T06:57:00Z"},
	} {
		var want time.Time
		if c.want != "" {
			var err error
			if want, err = time.Parse(time.RFC3339, c.want); err != nil {
				t.Fatal(err)
			}
		}
		got := one(c.in).time("x")
		if !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q: got %v, want %v", c.in, got, want)
		}
		if _, err := got.MarshalJSON(); err != nil {
			t.Errorf("%q: %v", c.in, err)
		}
	}
	if got := (params{}).time("x"); !got.IsZero() {
		t.Errorf("nothing gives %v", got)
	}
}

func TestInteger(t *testing.T) {
	for in, want := range map[string]*int64{
		"":                       nil,
		"0":                      new(int64(0)),
		"-5":                     new(int64(-5)),
		"+5":                     new(int64(5)),
		"007":                    new(int64(7)),
		"16.0":                   new(int64(16)),
		"1.6e1":                  new(int64(16)),
		"9007199254740992.0":     new(int64(1 << 53)),
		"9007199254740994.0":     nil,
		"16.5":                   nil,
		"1e400":                  nil,
		"NaN":                    nil,
		"Inf":                    nil,
		"-Inf":                   nil,
		"0x10":                   nil,
		"1_000":                  nil,
		"1_000.0":                nil,
		"0x1p4":                  nil,
		"1e":                     nil,
		"9223372036854775807":    new(int64(1<<63 - 1)),
		"9223372036854775808":    nil,
		strings.Repeat("1", 200): nil,
		"twelve":                 nil,
	} {
		if diff := cmp.Diff(want, one(in).integer("x")); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func TestCodeAndCount(t *testing.T) {
	for _, c := range []struct {
		in                string
		code, count       *int
		nonNegativeSecond *int64
	}{
		{"1203", new(1203), new(1203), new(int64(1203))},
		{"0", new(0), new(0), new(int64(0))},
		{"-1", new(-1), nil, nil},
		{"2147483647", new(2147483647), new(2147483647), new(int64(2147483647))},
		{"2147483648", nil, nil, new(int64(2147483648))},
		{"-2147483649", nil, nil, nil},
		{"x", nil, nil, nil},
	} {
		p := one(c.in)
		if diff := cmp.Diff(c.code, p.code("x")); diff != "" {
			t.Errorf("code %q: %s", c.in, diff)
		}
		if diff := cmp.Diff(c.count, p.count("x")); diff != "" {
			t.Errorf("count %q: %s", c.in, diff)
		}
		if diff := cmp.Diff(c.nonNegativeSecond, p.seconds64("x")); diff != "" {
			t.Errorf("seconds %q: %s", c.in, diff)
		}
	}
}

func TestDuration(t *testing.T) {
	start := time.Unix(1582527420, 0).UTC()
	for _, c := range []struct {
		name, text string
		start, end time.Time
		want       time.Duration
	}{
		{"given", "30", start, start.Add(time.Hour), 30 * time.Second},
		{"given zero", "0", start, start.Add(time.Hour), 0},
		{"missing", "", start, start.Add(14 * time.Second), 14 * time.Second},
		{"nonsense", "x", start, start.Add(14 * time.Second), 14 * time.Second},
		{"negative", "-3", start, start.Add(14 * time.Second), 14 * time.Second},
		{"too large for Go", "9223372037", time.Time{}, start, 0},
		{"largest", "9223372036", time.Time{}, start, 9223372036 * time.Second},
		{"never connected", "", time.Time{}, start, 0},
		{"still running", "", start, time.Time{}, 0},
		{"backwards", "", start, start.Add(-time.Second), 0},
	} {
		p := params{values: url.Values{"duration": {c.text}}}
		if got := p.duration(c.start, c.end); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRepair(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		limit          int
	}{
		{"short", "hello", "hello", 10},
		{"exact", "hello", "hello", 5},
		{"cut", "hello", "hel", 3},
		{"cut before a character", "aアイ", "aア", 6},
		{"cut at a character", "アイ", "ア", 3},
		{"invalid", "a\xffb", "a\uFFFDb", 10},
		{"NUL", "a\x00b", "a\uFFFDb", 10},
		{"invalid grows past the limit", "\x00\x00\x00\x00", "\uFFFD", 4},
		{"surrogate", "\xed\xa0\x80", "\uFFFD", 9},
		{"nothing fits", "ア", "", 2},
		{"continuation bytes only", strings.Repeat("\x80", 20), "\uFFFD", 10},
		{"empty", "", "", 0},
	} {
		if got := repair(c.in, c.limit); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRepairProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "bytes"))
		limit := rapid.IntRange(0, 64).Draw(t, "limit")
		got := repair(in, limit)
		switch {
		case len(got) > limit:
			t.Fatalf("%d bytes of at most %d", len(got), limit)
		case !utf8.ValidString(got) || strings.ContainsRune(got, 0):
			t.Fatalf("%q is not repaired", got)
		case repair(got, limit) != got:
			t.Fatalf("%q is repaired twice", got)
		case utf8.ValidString(in) && !strings.ContainsRune(in, 0) && !strings.HasPrefix(in, got):
			t.Fatalf("good text %q became %q", in, got)
		}
	})
}

func TestAppServerDataIsBounded(t *testing.T) {
	p := params{values: url.Values{
		"app_svr_data": {strings.Repeat("ア", 1365) + "x"},    // 4096 bytes, which PlanetKit for Web lets through
		"stid":         {strings.Repeat("ア", 1365) + "xxxx"}, // more than anybody can send
	}}
	data, stid := p.appServerData()
	if data != p.first("app_svr_data") {
		t.Errorf("%d of 4096 bytes are left", len(data))
	}
	if len(stid) != 4096 || !utf8.ValidString(stid) {
		t.Errorf("stid has %d bytes", len(stid))
	}
}

func TestRawHoldsNoSecret(t *testing.T) {
	p := params{values: url.Values{
		"param": {testlog.CCParam(1)}, "PARAM": {testlog.CCParam(1)}, "Param": {testlog.CCParam(1)},
		"cc_param": {testlog.CCParam(1)}, "parameter": {"kept"},
	}}
	if diff := cmp.Diff([]RawParam{{"parameter", "kept"}}, p.raw()); diff != "" {
		t.Error(diff)
	}
}

func TestRawIsBoundedAndSorted(t *testing.T) {
	many := url.Values{}
	for i := range 100 {
		many[strings.Repeat("n", i+1)] = []string{"1"}
	}
	if got := (params{values: many}).raw(); len(got) != 64 || got[0].Name != "n" || got[63].Name != strings.Repeat("n", 64) {
		t.Errorf("%d of 100 parameters are kept", len(got))
	}
	large := url.Values{"a": {strings.Repeat("x", 5000)}, "b": repeat(strings.Repeat("y", 4000), 9)}
	got := params{values: large}.raw()
	if len(got) != 4 || len(got[0].Value) != 4096 || len(got[3].Value) != 4000 {
		t.Errorf("%d large parameters are kept", len(got))
	}
	repeated := params{values: url.Values{"a": {"1", "2"}, "\xff": {"\x00"}}}.raw()
	if diff := cmp.Diff([]RawParam{{"a", "1"}, {"a", "2"}, {"\uFFFD", "\uFFFD"}}, repeated); diff != "" {
		t.Error(diff)
	}
}
