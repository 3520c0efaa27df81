package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

// Policy is the content security policy of every page: what is shown and run comes from this
// listener's own files, and forms go back to it. There is nothing inline.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

//go:embed assets
var assetFiles embed.FS

// asset is one file, as it is served.
type asset struct {
	kind string
	body []byte
	hash string // of the body: it is in the address, so that browsers may keep the file
}

// assetKinds are the files that are served; whatever else is embedded, such as licences, is not.
var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// readAssets reads every file, by its path under assets/.
func readAssets() (map[string]asset, error) {
	all := map[string]asset{}
	err := fs.WalkDir(assetFiles, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || assetKinds[path.Ext(name)] == "" {
			return err
		}
		body, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		all[name[len("assets/"):]] = asset{kind: assetKinds[path.Ext(name)], body: body, hash: hex.EncodeToString(sum[:6])}
		return nil
	})
	return all, err
}

// Asset answers for one file; it reports false, and answers nothing, when there is none with
// this name.
func (p *Pages) Asset(w http.ResponseWriter, r *http.Request, name string) bool {
	a, ok := p.assets[name]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", `"`+a.hash+`"`)
	if r.URL.Query().Get("v") == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == `"`+a.hash+`"` {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	_, _ = w.Write(a.body) // the browser has gone; there is nobody to tell
	return true
}

// address is where a page finds a file.
func (p *Pages) address(name string) string {
	return "/assets/" + name + "?v=" + p.assets[name].hash
}
