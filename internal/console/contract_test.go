package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/planetbell/planetbell"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
)

// contract is admin-openapi.yaml, loaded once and valid.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(planetbell.AdminOpenAPI)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

var contractRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := contract()
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// described reports whether a route belongs into admin-openapi.yaml: pages are for people, and
// profiles are Go's.
func described(r console.Route) bool {
	return r.Kind != "page" && r.Kind != "stream" && r.Kind != "signin" && !strings.HasPrefix(r.Pattern, "GET /assets/") && !strings.Contains(r.Pattern, "/debug/pprof/")
}

// checkContract holds an answer against admin-openapi.yaml. It is called for every answer that
// any test gets by ask.
func checkContract(t testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	router, err := contractRouter()
	if err != nil {
		t.Fatalf("admin-openapi.yaml: %v", err)
	}
	clone := r.Clone(context.Background())
	clone.URL.Scheme, clone.URL.Host = "", ""
	if clone.Method == http.MethodHead {
		clone.Method = http.MethodGet
	}
	route, path, err := router.FindRoute(clone)
	if err != nil || strings.HasSuffix(r.URL.Path, "/") {
		return // TestEveryRouteIsInTheContract says what is missing
	}
	if route.Operation.Responses.Status(w.Code) == nil {
		if w.Code != 499 && w.Code != http.StatusConflict { // nobody reads the one; tests of errors make the other anywhere
			t.Errorf("%s %s answered %d, which admin-openapi.yaml does not name: add it to the responses there", r.Method, route.Path, w.Code)
		}
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: path, Route: route},
		Status:                 w.Code, Header: w.Header(),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	input.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s %s answered %d against admin-openapi.yaml: %v", r.Method, route.Path, w.Code, err)
	}
}

func TestEveryRouteIsInTheContract(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatalf("admin-openapi.yaml: %v", err)
	}
	known := map[string]console.Route{}
	for _, r := range console.Routes() {
		if !described(r) {
			continue
		}
		known[r.Pattern] = r
		method, path, _ := strings.Cut(r.Pattern, " ")
		item := doc.Paths.Value(path)
		if item == nil || item.GetOperation(method) == nil {
			t.Errorf("admin-openapi.yaml does not have %s: add it under paths, with x-role: %s, its parameters, a schema for its answer, and the errors that its neighbours have", r.Pattern, r.Least)
			continue
		}
		if role, _ := item.GetOperation(method).Extensions["x-role"].(string); bell.Role(role) != r.Least {
			t.Errorf("admin-openapi.yaml, %s: x-role is %q, want %q as in routes.go", r.Pattern, role, r.Least)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if _, ok := known[method+" "+path]; !ok {
				t.Errorf("admin-openapi.yaml has %s %s, which is no route: remove it there", method, path)
			}
		}
	}
}

// Every field of an answer is described: the schemas allow more fields, as clients have to, so
// that answers alone do not show what is missing.
func TestTheContractHasEveryField(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var check func(reflect.Type)
	check = func(v reflect.Type) {
		for v.Kind() == reflect.Slice || v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || seen[v] || v.PkgPath() != reflect.TypeFor[console.Call]().PkgPath() || v == reflect.TypeFor[console.SentSecret]() {
			return
		}
		seen[v] = true
		schema := doc.Components.Schemas[v.Name()]
		if schema == nil {
			t.Errorf("admin-openapi.yaml has no schema %s: add it under components", v.Name())
			return
		}
		fields := map[string]bool{}
		for _, f := range reflect.VisibleFields(v) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = true
			if schema.Value.Properties[name] == nil {
				t.Errorf("admin-openapi.yaml, schema %s: there is no property %s", v.Name(), name)
			}
			check(f.Type)
		}
		for name := range schema.Value.Properties {
			if !fields[name] {
				t.Errorf("admin-openapi.yaml, schema %s: there is a property %s, and no such field", v.Name(), name)
			}
		}
	}
	for _, v := range documented() {
		check(reflect.TypeOf(v))
	}
}

func TestTheContractIsServed(t *testing.T) {
	w := ask(t, newHandler(t, newFake(t), testConfig()), "GET", "/admin/v1/openapi.yaml", "")
	if w.Code != http.StatusOK || w.Body.String() != string(planetbell.AdminOpenAPI) {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}
