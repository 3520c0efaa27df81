package console_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

func TestDebugUsers(t *testing.T) {
	f := newFake(t)
	config := testConfig()
	config.Node = "a"
	h := newHandler(t, f, config)
	const path = "/admin/v1/debug_users"
	want := console.DebugUser{Environment: planet.Evaluation, ServiceID: "bell-eval", UserID: "bob", Until: noon.Add(10 * time.Minute), Node: "a"}
	got := ask(t, h, "POST", path, `{"service_id":"bell-eval","user_id":"bob","minutes":10}`)
	if diff := cmp.Diff(want, decode[console.DebugUser](t, got)); diff != "" || got.Code != http.StatusOK {
		t.Errorf("status %d: %s", got.Code, diff)
	}
	owner := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "bell-eval", UserID: "bob"}}
	if all := f.watch.List(noon); len(all) != 1 || all[0].Owner != owner {
		t.Errorf("%v", all)
	}
	got = ask(t, h, "GET", path, "")
	if diff := cmp.Diff(console.DebugUserList{Users: []console.DebugUser{want}}, decode[console.DebugUserList](t, got)); diff != "" {
		t.Error(diff)
	}
	for body, part := range map[string]string{
		`{"service_id":"bell-eval","user_id":"bob","minutes":0}`:                         "1 to 60",
		`{"service_id":"bell-eval","user_id":"bob","minutes":61}`:                        "1 to 60",
		`{"service_id":"bell-eval","user_id":"","minutes":1}`:                            "user_id",
		`{"service_id":"bell-eval","user_id":"bob","minutes":1,"environment":"nowhere"}`: "environment",
	} {
		wantProblem(t, ask(t, h, "POST", path, body), http.StatusBadRequest, "invalid", part)
	}
	wantProblem(t, ask(t, h, "POST", path, `{"service_id":"other","user_id":"bob","minutes":1}`), http.StatusNotFound, "not_found", "no project")
	if got := ask(t, h, "DELETE", path+"/bell-eval/bob", ""); got.Code != http.StatusNoContent || len(f.watch.List(noon)) != 0 {
		t.Errorf("status %d", got.Code)
	}
	wantProblem(t, ask(t, h, "DELETE", path+"/bell-eval/bob", ""), http.StatusNotFound, "not_found", "this node")
}
