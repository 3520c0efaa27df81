package signin

import (
	"bytes"
	_ "embed" // the sign-in page
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"github.com/planetbell/planetbell/internal/bell"
)

// Page is what the sign-in page shows.
type Page struct {
	Password, Token, OIDC bool   // the ways that there are
	Next                  string // where to go then: a path of this server
	Problem               string // a sentence; empty: none
}

//go:embed signin.html
var pageText string

var pageTemplate = template.Must(template.New("signin").Parse(pageText))

// Policy is the Content-Security-Policy of the sign-in page. Its Referrer-Policy must let
// browsers send Origin, without which a form over plain HTTP is refused.
const Policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func plainPage(w http.ResponseWriter, _ *http.Request, status int, p Page) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("write the sign-in page: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the sender has gone; there is nobody to tell
	return nil
}

func (s *Service) page(w http.ResponseWriter, r *http.Request, status int, next, problem string) error {
	w.Header().Set("Content-Security-Policy", Policy)
	w.Header().Set("Referrer-Policy", "same-origin")
	return s.Page(w, r, status, Page{
		Password: len(s.users) > 0, Token: len(s.tokens) > 0, OIDC: s.oidc != nil, Next: LocalPath(next), Problem: problem,
	})
}

// Ask shows the sign-in page (GET /signin). The parameter next says where to go then. Who is
// signed in goes there at once.
func (s *Service) Ask(w http.ResponseWriter, r *http.Request) error {
	next := LocalPath(r.URL.Query().Get("next"))
	if who, err := s.Identify(r); err == nil && who.Role.Valid() {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return s.page(w, r, http.StatusOK, next, "")
}

// AskURL is the address of the sign-in page for somebody who asked for something else. Only what
// was asked with GET can be gone back to.
func AskURL(r *http.Request) string {
	if changes(r.Method) {
		return "/signin"
	}
	return "/signin?next=" + url.QueryEscape(LocalPath(r.URL.RequestURI()))
}

// SignIn takes the form of the sign-in page (POST /signin). It says who that is; on failure,
// whose name it was if anybody has it. The failure is answered with the page, and returned.
func (s *Service) SignIn(w http.ResponseWriter, r *http.Request) (Principal, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		// This counts as an attempt. What can be read counts when it is known that it has no right
		// token, which nobody's attempts may lock out.
		if err := s.allow(r, ""); err != nil {
			return Principal{}, err
		}
		return Principal{}, bell.E(bell.Invalid, "The form cannot be read.", err)
	}
	who, err := s.signIn(w, r)
	if err == nil {
		http.Redirect(w, r, LocalPath(r.PostForm.Get("next")), http.StatusSeeOther)
		return who, nil
	}
	status, known := map[bell.Kind]int{
		bell.Unauthorized: http.StatusUnauthorized, bell.TooMany: http.StatusTooManyRequests, bell.Overload: http.StatusServiceUnavailable,
	}[bell.KindOf(err)]
	if !known {
		return who, err
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	return who, errors.Join(err, s.page(w, r, status, r.PostForm.Get("next"), sentenceOf(err)))
}

// maxForm bounds the form, in bytes: a password of MaxPassword bytes, encoded.
const maxForm = 16 << 10

func (s *Service) signIn(w http.ResponseWriter, r *http.Request) (Principal, error) {
	if !fromHere(r) {
		return Principal{}, bell.E(bell.Forbidden, "Sign in on the sign-in page; programs use an API token instead.", nil)
	}
	if token := r.PostForm.Get("token"); token != "" {
		return s.signInByToken(w, r, token)
	}
	name, password := r.PostForm.Get("name"), r.PostForm.Get("password")
	known := Principal{Via: ViaPassword}
	if u := s.users[name]; u != nil {
		known = Principal{Name: name, Role: u.Role, Via: ViaPassword}
	}
	if err := s.allow(r, name); err != nil {
		return known, err
	}
	if len(s.users) == 0 || password == "" || len(password) > MaxPassword {
		return known, bell.E(bell.Unauthorized, wrongPassword, nil)
	}
	user, err := s.password(r.Context(), name, password)
	if err != nil {
		return known, err
	}
	return known, s.sessions.begin(w, r, session{Name: name, Via: ViaPassword, Stamp: user.stamp()})
}

// signInByToken never refuses the right token, however many wrong ones came before.
func (s *Service) signInByToken(w http.ResponseWriter, r *http.Request, text string) (Principal, error) {
	t := s.token(text)
	if t == nil {
		if err := s.allow(r, ""); err != nil {
			return Principal{Via: ViaToken}, err
		}
		return Principal{Via: ViaToken}, bell.E(bell.Unauthorized, wrongToken, nil)
	}
	who := Principal{Name: t.Name, Role: t.Role, Via: ViaToken}
	return who, s.sessions.begin(w, r, session{Name: t.Name, Via: ViaToken, Stamp: t.stamp()})
}

// SignOut ends the session (POST /signout) and says whose it was: nobody's, if there is none.
func (s *Service) SignOut(w http.ResponseWriter, r *http.Request) (Principal, error) {
	if !fromHere(r) {
		return Principal{}, bell.E(bell.Forbidden, "Sign out on a page of this server.", nil)
	}
	who, err := s.sessions.who(r)
	if err != nil {
		return Principal{}, err
	}
	if who != (Principal{}) {
		if err := s.sessions.end(w, r); err != nil {
			return who, err
		}
	}
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return who, nil
}

// sentenceOf is what may be shown of an error.
func sentenceOf(err error) string {
	var e *bell.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return "Something went wrong; try again."
}
