package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

//go:embed templates/*.html
var templateFiles embed.FS

// Pages holds the parsed templates and the files. It is read-only after New, and so safe for
// concurrent use.
type Pages struct {
	sets   map[planet.Language]map[string]*template.Template
	assets map[string]asset
}

// Frame is what surrounds every page.
type Frame struct {
	Words
	Now     time.Time
	Title   string     // of the page, in its language
	Section string     // which entry of the menu it belongs to
	Query   url.Values // of this page, without its language: the links to other languages keep it
	Name    string     // who is signed in
	Role    string     // and what they may do: viewer, operator or admin
	Acts    bool       // they may do what an operator may
	Admin   bool       // they may do what an administrator may
	SignOut string     // where a form that signs out goes; empty when there is no session
	Node    string     // of several that share a database; empty: the only one
	Version string
}

// view is what templates see.
type view struct {
	Frame
	Body any
}

// New parses the templates in every language.
func New() (*Pages, error) {
	p := &Pages{sets: map[planet.Language]map[string]*template.Template{}}
	var err error
	if p.assets, err = readAssets(); err != nil {
		return nil, fmt.Errorf("read the console's files: %w", err)
	}
	for _, l := range planet.Languages() {
		if p.sets[l], err = p.parse(Words{l}); err != nil {
			return nil, fmt.Errorf("parse the console's templates: %w", err)
		}
	}
	return p, nil
}

// parse makes one set: each page with the layout and the parts that pages share, whose names
// begin with an underscore.
func (p *Pages) parse(words Words) (map[string]*template.Template, error) {
	base, err := template.New("base").Funcs(p.functions(words)).ParseFS(templateFiles, "templates/_*.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templateFiles, "templates/[^_]*.html")
	if err != nil {
		return nil, err
	}
	set := map[string]*template.Template{}
	for _, name := range names {
		page, err := base.Clone()
		if err == nil {
			page, err = page.ParseFS(templateFiles, name)
		}
		if err != nil {
			return nil, err
		}
		set[strings.TrimSuffix(path.Base(name), ".html")] = page
	}
	return set, nil
}

func (p *Pages) functions(words Words) template.FuncMap {
	return template.FuncMap{
		"t":      func(key string, values ...any) string { return words.T(Key(key), values...) },
		"word":   words.Word,
		"length": words.Length,
		"ago":    words.Ago,
		"count":  func(n int) string { return words.Count(int64(n)) },
		"stamp":  stamp,
		"clock":  clock,
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"asset":  p.address,
		"short":  short,
		"asking": asking,
		"entry":  entry,
		"table":  func(id string, rows any) any { return table{id, rows} },
		"pick":   func(name string, choices []Choice) any { return pick{name, choices} },
	}
}

// stamp is a time to the second, in UTC as everything here.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// clock is the time of day to the millisecond.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("15:04:05.000")
}

// short is the end of an ID, enough to tell two on one page apart.
func short(id any) string {
	s := fmt.Sprint(id)
	if len(s) <= 13 {
		return s
	}
	return "…" + s[len(s)-6:] // the beginning of our IDs is a time
}

// asking is a query with one parameter changed; empty removes it.
func asking(q url.Values, name, value string) string {
	changed := url.Values{}
	for k, v := range q {
		changed[k] = v
	}
	changed.Set(name, value)
	if value == "" {
		changed.Del(name)
	}
	return "?" + changed.Encode()
}

// pick is a select of a form.
type pick struct {
	Name    string
	Choices []Choice
}

// table is one of several of its kind on a page; ID tells them apart for those who hear it.
type table struct {
	ID   string
	Rows any
}

// menuEntry is one entry of the menu.
type menuEntry struct {
	Href, Label string
	Here        bool
}

// menu are the texts of the menu, by section.
var menu = map[string]Key{
	"overview": "nav.overview", "calls": "nav.calls", "rooms": "nav.rooms", "users": "nav.users",
	"deliveries": "nav.deliveries", "events": "nav.events", "settings": "nav.settings", "audit": "nav.audit",
}

func entry(f Frame, section, href string) menuEntry {
	return menuEntry{Href: href, Label: f.T(menu[section]), Here: f.Section == section}
}

// Page draws a whole page. The name is its template's. Nothing is written when it fails, which
// is a mistake in a template.
func (p *Pages) Page(w io.Writer, name string, f Frame, body any) error {
	return p.draw(w, name, "layout", f, body)
}

// Part draws a part of a page, to be swapped in.
func (p *Pages) Part(w io.Writer, page, part string, f Frame, body any) error {
	return p.draw(w, page, part, f, body)
}

func (p *Pages) draw(w io.Writer, page, part string, f Frame, body any) error {
	set := p.sets[f.Language]
	if set == nil {
		set = p.sets[planet.English]
	}
	t, ok := set[page]
	if !ok {
		return fmt.Errorf("there is no page %s", page)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, view{f, body}); err != nil {
		return fmt.Errorf("draw the page %s: %w", page, err)
	}
	_, err := b.WriteTo(w)
	return err
}
