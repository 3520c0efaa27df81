package console_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/console"
)

func apiDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/admin-api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryRouteIsDocumented(t *testing.T) {
	routes := console.Routes()
	if len(routes) < 15 {
		t.Fatalf("there are %d routes; the test would prove little", len(routes))
	}
	document := apiDocument(t)
	for _, route := range routes {
		if route.Kind == "page" || route.Kind == "stream" || strings.HasPrefix(route.Pattern, "GET /assets/") || strings.Contains(route.Pattern, " /debug/pprof/") {
			continue // pages are no API, and one line stands for all profiles
		}
		if !strings.Contains(document, route.Pattern) {
			t.Errorf("docs/admin-api.md does not have %s", route.Pattern)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	document := apiDocument(t)
	seen := map[reflect.Type]bool{}
	var check func(reflect.Type)
	check = func(v reflect.Type) {
		for v.Kind() == reflect.Slice || v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || seen[v] || v.PkgPath() != reflect.TypeFor[console.Call]().PkgPath() {
			return
		}
		seen[v] = true
		for _, f := range reflect.VisibleFields(v) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				continue // the secret inside SentSecret
			}
			if !strings.Contains(document, "`"+name+"`") && !strings.Contains(document, `"`+name+`"`) {
				t.Errorf("docs/admin-api.md does not have %s.%s", v.Name(), name)
			}
			check(f.Type)
		}
	}
	for _, v := range documented() {
		check(reflect.TypeOf(v))
	}
	if len(seen) < 15 {
		t.Errorf("looked at %d types only", len(seen))
	}
}

// documented are the types of all bodies.
func documented() []any {
	return []any{
		console.DeviceList{},
		console.NewDevice{},
		console.CallList{},
		console.CallStory{},
		console.VerdictList{},
		console.RoomRunList{},
		console.RoomRunStory{},
		console.AccessTokenRequest{},
		console.AccessToken{},
		console.ProjectList{},
		console.UserRules{},
		console.Problem{},
		console.AuditList{},
		console.Me{},
		console.DebugUserRequest{},
		console.DebugUserList{},
		console.EventList{},
		console.EventEndpointList{},
		console.EndpointRequest{},
		console.Replayed{},
		console.TestEventRequest{},
		console.TestEvent{},
		console.Overview{},
		console.UserReadiness{},
		console.FailingList{},
		console.DeviceTest{},
		console.DeviceTestResult{},
	}
}

// The audit log's words stand in its documentation, and there are no others.
func TestEveryActionIsDocumented(t *testing.T) {
	_, row, _ := strings.Cut(apiDocument(t), "| `action` |")
	row, _, _ = strings.Cut(row, "\n")
	known := map[string]bool{"access.refuse": true}
	for _, route := range console.Routes() {
		if route.Action != "" {
			known[route.Action] = true
		}
	}
	if len(known) < 10 {
		t.Fatalf("there are %d actions; the test would prove little", len(known))
	}
	for action := range known {
		if !strings.Contains(row, "`"+action+"`") {
			t.Errorf("docs/admin-api.md does not say that %s is in the audit log", action)
		}
	}
	for i, word := range strings.Split(row, "`") {
		if i%2 == 1 && !known[word] {
			t.Errorf("docs/admin-api.md has the action %s, which no route does", word)
		}
	}
}
