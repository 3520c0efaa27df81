package clients

import "testing"

func TestSessionOfACall(t *testing.T) {
	for body, want := range map[string]string{
		`{"app_session_id":"s1","aps":{}}`: "s1",
		`{"app_session_id":1}`:             "",
		`{"app_session_id":null}`:          "",
		`{}`:                               "",
		`[]`:                               "",
		``:                                 "",
	} {
		if got := PushSession([]byte(body)); got != want {
			t.Errorf("PushSession(%s) = %q, want %q", body, got, want)
		}
		if got := PollSession(Answer{Status: 200, Body: []byte(`{"status":"success","data":` + body + `}`)}); got != want {
			t.Errorf("PollSession of %s = %q, want %q", body, got, want)
		}
	}
	if got := PollSession(Answer{Status: 503, Body: []byte(`no call`)}); got != "" {
		t.Errorf("PollSession of an error = %q", got)
	}
	if DataSession(map[string]string{"app_session_id": "s1"}) != "s1" || DataSession(nil) != "" {
		t.Error("DataSession does not read the data")
	}
}
