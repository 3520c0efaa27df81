package console_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

func TestListProjects(t *testing.T) {
	w := ask(t, newHandler(t, newFake(t), testConfig()), "GET", "/admin/v1/projects", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	golden(t, "projects.json", indented(t, w.Body))
}

func TestNoProjectsIsAnEmptyList(t *testing.T) {
	f := newFake(t)
	f.projects = nil
	if w := ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/projects", ""); strings.TrimSpace(w.Body.String()) != `{"projects":[]}` {
		t.Errorf("%s", w.Body)
	}
}

// The answer to a request for a token is the only one that holds a secret; so this test
// does not keep it, and looks at the log instead.
func TestMintAccessToken(t *testing.T) {
	f := newFake(t)
	minted := planet.Secret("minted-" + adminToken.Reveal())
	f.mint = func(p *bell.Project, userID string) (planet.Secret, error) {
		if p.Name != "main" || userID != "alice" {
			t.Errorf("asked for %s in %s", userID, p.Name)
		}
		return minted, nil
	}
	var log strings.Builder
	h := console.New(testConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	r := httptest.NewRequest("POST", "/admin/v1/access_tokens", strings.NewReader(`{"project":"main","user_id":"alice"}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	got := decode[console.AccessToken](t, w)
	if got.AccessToken.Secret != minted {
		t.Error("the answer holds another token")
	}
	if got.Project != "main" || got.ServiceID != "bell-eval" || got.UserID != "alice" || !got.IssuedAt.Equal(noon) {
		t.Errorf("answer %+v", got)
	}
	noSecrets(t, "log", log.String())
	if !strings.Contains(log.String(), "minted_for=alice") {
		t.Errorf("the log does not say for whom a token was minted: %s", log.String())
	}
}

func TestMintRefused(t *testing.T) {
	f := newFake(t)
	h := newHandler(t, f, testConfig())
	body := `{"project":"main","user_id":"a b"}`
	f.mint = func(*bell.Project, string) (planet.Secret, error) {
		return "", bell.E(bell.Invalid, "user ID: no spaces.", nil)
	}
	wantProblem(t, ask(t, h, "POST", "/admin/v1/access_tokens", body), http.StatusBadRequest, "invalid", "user ID: no spaces.")
	f.mint = func(*bell.Project, string) (planet.Secret, error) { return "", errors.New("broken") }
	wantProblem(t, ask(t, h, "POST", "/admin/v1/access_tokens", body), http.StatusInternalServerError, "internal", "log")
}
