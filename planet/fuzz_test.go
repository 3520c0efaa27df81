package planet

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What must hold for every callback, however hostile: no panic, a known error or a
// bounded result, the same result again, and no param among the raw parameters.

// seeds are good callbacks and the oddities that are known.
func seeds() []string {
	return []string{
		docsNotify + url.QueryEscape(docsParam),
		docsNotify + "a+b/c==",
		docsNotify + "a%20b&app_svr_data=y&type=v",
		docsCallEvent,
		docsGroupEvent,
		"sid=" + callSID + "&terminate=17&duration=0",
		"sid=" + strings.ToUpper(callSID) + "&result=Success&fail_reason=None",
		"svc_id=s&id=room&sc=S",
		"sid=" + callSID + "&ts=253402300800000&setup_time=-1&duration=9223372037&billing_sec=1e3",
		"", "&", "=", "sid", "sid=%ZZ", "a;b=1", "sid=a&sid=b", "stid=%FF%00&sid=x&display_name=%ED%A0%80",
	}
}

// checkParse runs one parser twice and checks what is common to all.
func checkParse[T any](t *testing.T, raw string, parse func(url.Values) (T, error), what func(T) (sid SessionID, key string, list []RawParam)) {
	values, err := ParseQuery(raw)
	if err != nil {
		checkError(t, err)
		return
	}
	got, err := parse(values)
	if err != nil {
		checkError(t, err)
		return
	}
	sid, key, list := what(got)
	if again, err := ParseSessionID(string(sid)); sid != "" && (err != nil || again != sid) {
		t.Errorf("session ID %q is not one: %v", sid, err)
	}
	if key == "" || len(key) > 1024 || !utf8.ValidString(key) {
		t.Errorf("deduplication key of %d bytes", len(key))
	}
	second, err := parse(values)
	if err != nil {
		t.Fatalf("the second time: %v", err)
	}
	if _, secondKey, _ := what(second); secondKey != key {
		t.Errorf("the key was %q and is %q", key, secondKey)
	}
	checkRaw(t, list)
}

func checkError(t *testing.T, err error) {
	var p *ParameterError
	if !errors.As(err, &p) && !errors.Is(err, ErrNoParameters) {
		t.Errorf("error %v is a %T", err, err)
	}
	if text := err.Error(); len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x00") {
		t.Errorf("error text %q", text)
	}
}

func checkRaw(t *testing.T, list []RawParam) {
	total := 0
	for _, p := range list {
		total += len(p.Name) + len(p.Value)
		if strings.EqualFold(p.Name, "param") {
			t.Error("param is among the raw parameters")
		}
		checkText(t, p.Name, maxName)
		checkText(t, p.Value, maxRawValue)
	}
	if total > maxRawBytes || len(list) > maxRawParams {
		t.Errorf("%d raw parameters of %d bytes", len(list), total)
	}
}

func checkText(t *testing.T, text string, limit int) {
	t.Helper()
	if len(text) > limit || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		t.Errorf("text %q of %d bytes, at most %d", text, len(text), limit)
	}
}

func checkTimes(t *testing.T, all ...time.Time) {
	t.Helper()
	for _, at := range all {
		if _, err := at.MarshalText(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseNotify(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		checkParse(t, raw, ParseNotify, func(n NotifyCallback) (SessionID, string, []RawParam) {
			if ValidateUserID(n.Callee.UserID) != nil || ValidateServiceID(n.Callee.ServiceID) != nil {
				t.Errorf("callee %q", n.Callee)
			}
			if n.CCParam == "" || len(n.CCParam) > maxCCParam || strings.Contains(n.CCParam.Reveal(), " ") {
				t.Errorf("param of %d bytes", len(n.CCParam))
			}
			if n.Type != AudioCall && n.Type != VideoCall {
				t.Errorf("type %q", n.Type)
			}
			checkText(t, n.Caller.String(), 2*maxForeignID+1)
			checkText(t, n.AppServerData, maxAppServerData)
			checkText(t, n.STID, maxAppServerData)
			return n.SessionID, n.DedupKey(), n.Raw
		})
	})
}

func FuzzParseCallEvent(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		checkParse(t, raw, ParseCallEvent, func(e CallEvent) (SessionID, string, []RawParam) {
			if e.Duration < 0 || e.Outcome() == "" {
				t.Errorf("duration %v, outcome %q", e.Duration, e.Outcome())
			}
			checkTimes(t, e.SetupTime, e.StartTime, e.EndTime)
			checkText(t, e.Release.UserCode, maxUserCode)
			checkText(t, e.Release.CodeName+e.CallerAddress, 2*maxWord)
			checkText(t, e.AppServerData, maxAppServerData)
			return e.SessionID, e.DedupKey(), e.Raw
		})
	})
}

func FuzzParseGroupCallEvent(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		checkParse(t, raw, ParseGroupCallEvent, func(e GroupCallEvent) (SessionID, string, []RawParam) {
			if e.SessionID == "" && (e.Room.ServiceID == "" || e.Room.RoomID == "") {
				t.Error("neither a session nor a room")
			}
			if e.Online != nil && *e.Online < 0 {
				t.Errorf("%d online", *e.Online)
			}
			checkTimes(t, e.SetupTime, e.StartTime, e.EndTime, e.Time)
			checkText(t, e.DisplayName, maxDisplayName)
			// Upper case can be longer than lower case, so there is room for that.
			checkText(t, string(e.Status), 3*maxWord)
			checkText(t, string(e.ParticipantStatus), 3*maxWord)
			return e.SessionID, e.DedupKey(), e.Raw
		})
	})
}

func FuzzParseAgentCallStatus(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		checkParse(t, raw, ParseAgentCallStatus, func(s AgentCallStatus) (SessionID, string, []RawParam) {
			if s.Success && s.FailReason != "" {
				t.Errorf("success with reason %q", s.FailReason)
			}
			checkText(t, s.AgentType+s.MediaSourceType, 2*maxWord)
			return s.SessionID, s.DedupKey(), s.Raw
		})
	})
}

// FuzzParseQuery compares with net/url where the two mean the same.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := ParseQuery(raw)
		if err != nil {
			checkError(t, err)
		}
		if len(raw) > maxQuery || strings.Count(raw, "&") >= maxParameters || strings.Contains(raw, ";") {
			return
		}
		want, wantErr := url.ParseQuery(raw)
		if wantErr == nil && err != nil && !strings.Contains(err.Error(), "parameter name of more than") {
			t.Fatalf("net/url reads it, but: %v", err)
		}
		if wantErr != nil && err == nil {
			t.Fatalf("net/url does not read it: %v", wantErr)
		}
		if err == nil && got.Encode() != want.Encode() {
			t.Errorf("got %v, net/url %v", got, want)
		}
	})
}

func FuzzParseBody(f *testing.F) {
	for _, seed := range seeds() {
		f.Add("application/x-www-form-urlencoded", []byte(seed))
	}
	for _, seed := range []string{
		`{"sid":"a","n":1.5e3,"b":true,"z":null}`, `{"a":{"b":[1]}}`, `{"a":1,"a":2}`, `{"a":1}{`, `{`, `[]`, `null`, ` {} `, `{"\ud800":"\u0000"}`,
	} {
		f.Add("application/json", []byte(seed))
		f.Add("", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		values, err := ParseBody(contentType, body)
		if err != nil {
			checkError(t, err)
			return
		}
		n := 0
		for name, all := range values {
			n += len(all)
			if len(name) > maxName {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
		if n > maxParameters {
			t.Errorf("%d parameters", n)
		}
		for name, parse := range parsers() {
			if err := parse(values); err != nil {
				checkError(t, err)
				t.Log(name, err)
			}
		}
	})
}

func FuzzParseSessionID(f *testing.F) {
	for _, seed := range []string{callSID, groupSID, strings.ToUpper(callSID), "", "a b", "../..", "\x00", strings.Repeat("a", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sid, err := ParseSessionID(text)
		if err != nil {
			if sid != "" || len(err.Error()) > 200 {
				t.Errorf("%q with an error of %d bytes", sid, len(err.Error()))
			}
			return
		}
		if !strings.EqualFold(string(sid), text) || strings.ToLower(string(sid)) != string(sid) || len(sid) > maxSessionID {
			t.Errorf("%q became %q", text, sid)
		}
	})
}

func FuzzEmbeddedSessionID(f *testing.F) {
	for _, seed := range []string{docsParam, "", "e30=", "eyJzaWQiOiJBQiJ9", "eyJzaWQiOjF9", "W1tb", "====", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sid, ok := CCParam(text).EmbeddedSessionID()
		if again, err := ParseSessionID(string(sid)); ok && (err != nil || again != sid) {
			t.Errorf("%q is no session ID", sid)
		}
		if !ok && sid != "" {
			t.Errorf("not found, but %q", sid)
		}
	})
}

func FuzzValidateIDs(f *testing.F) {
	for _, seed := range []string{"alice", "a.b", "a_b", "", "\xff", strings.Repeat("a", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, validate := range []func(string) error{ValidateUserID, ValidateRoomID, ValidateServiceID} {
			if validate(id) == nil && (id == "" || len(id) > 64 || !printable(id) || strings.ContainsAny(id, `/\"'<>&%?#: `)) {
				t.Errorf("%q is valid", id)
			}
		}
	})
}
