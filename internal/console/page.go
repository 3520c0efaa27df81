package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/console/signin"
)

// languageCookie remembers which language somebody reads. It is no secret.
const languageCookie = "planetbell_lang"

// words speaks the language of a request.
func words(r *http.Request) pages.Words {
	chosen := ""
	if c, err := r.Cookie(languageCookie); err == nil {
		chosen = c.Value
	}
	return pages.Words{Language: pages.LanguageOf(r.URL.Query().Get("lang"), chosen, r.Header.Get("Accept-Language"))}
}

// frame is what surrounds a page.
func (s *site) frame(r *http.Request, section, title string) pages.Frame {
	who := principalOf(r.Context())
	query := r.URL.Query()
	query.Del("lang")
	signOut := "/signout"
	if r.Header.Get("Authorization") != "" || who.Via == signin.ViaLoopback || who.Name == "" {
		signOut = "" // there is no session
	}
	return pages.Frame{
		Words: words(r), Now: s.Now(), Title: title, Section: section, Query: query,
		Name: who.Name, Role: string(who.Role), Acts: who.Role.Covers(bell.Operator), Admin: who.Role.Covers(bell.Admin),
		Node: s.Node, Version: s.Version, SignOut: signOut,
	}
}

// drawing is a page to be drawn.
type drawing struct {
	status int    // http.StatusOK if zero
	page   string // the name of its template
	frame  pages.Frame
	body   any // what the template shows in the frame
}

// show answers with a page.
func (s *site) show(w http.ResponseWriter, r *http.Request, d drawing) error {
	pageHeaders(w, r, d.frame)
	w.WriteHeader(cmp.Or(d.status, http.StatusOK))
	return s.pages.Page(w, d.page, d.frame, d.body)
}

// pageHeaders are those of HTML.
func pageHeaders(w http.ResponseWriter, r *http.Request, f pages.Frame) {
	h := w.Header()
	h.Set("Content-Security-Policy", pages.Policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	// Forms must say where they come from, and "no-referrer" makes that null.
	h.Set("Referrer-Policy", "same-origin")
	h.Add("Vary", "Accept-Language, Cookie")
	if r.URL.Query().Get("lang") == string(f.Language) {
		http.SetCookie(w, &http.Cookie{
			Name: languageCookie, Value: string(f.Language), Path: "/", MaxAge: 365 * 24 * 3600,
			HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
		})
	}
}

// signInPage asks who is there.
func (s *site) signInPage(w http.ResponseWriter, r *http.Request, status int, p signin.Page) error {
	p.Problem = words(r).Problem(p.Problem)
	return s.show(w, r, drawing{status, "signin", s.frame(r, "", words(r).T("signin.title")), p})
}

// wrong is the page that tells of an error.
type wrong struct{ Title, Detail string }

// drawn makes a page of an error, of the handler or of who may not ask it.
func (s *site) drawn(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if rec, ok := w.(*recorder); err == nil || ok && rec.status != 0 {
			return err
		}
		e := eventOf(r.Context())
		e.err = err
		problem := problemOf(r.Context(), err)
		f := s.frame(r.WithContext(withPrincipal(r.Context(), e.who)), "", words(r).T("wrong.title"))
		return s.show(w, r, drawing{problem.Status, "wrong", f, wrong{Title: f.Title, Detail: problem.Detail}})
	}
}

// asset answers for a file of the pages. There is nothing secret in them.
func (s *site) asset(w http.ResponseWriter, r *http.Request) error {
	if !s.pages.Asset(w, r, r.PathValue("file")) {
		return bell.E(bell.NotFound, "There is no such file.", nil)
	}
	return nil
}

// pageQuery is parseQuery for pages, which all take lang, and whose forms send empty fields.
func pageQuery(r *http.Request, known ...string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, invalid("The query string is not well-formed; encode special characters with %%.")
	}
	values.Del("lang")
	for name, all := range values {
		if len(all) == 1 && all[0] == "" {
			values.Del(name)
		}
	}
	return parseQuery(values.Encode(), known...)
}

// readForm reads the fields of a form that was sent, each at most once and short.
func readForm(w http.ResponseWriter, r *http.Request) (func(name string) string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return nil, bell.E(bell.Invalid, "The form cannot be read.", nil)
	}
	for name, all := range r.PostForm {
		if len(all) != 1 || len(all[0]) > maxParam || strings.ContainsFunc(all[0], unicode.IsControl) {
			return nil, invalid("%s: want one short value.", shownName(name))
		}
	}
	return r.PostForm.Get, nil
}
