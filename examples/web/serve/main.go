// Command serve serves the example softphone from its folder, for use with a server of your own:
//
//	go run ./examples/web/serve --config softphone.json
//
// The file is the page's config.json. A copy of PlanetKit belongs into examples/web/vendor;
// examples/web/README.md says how.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/planetbell/planetbell/examples/web"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "softphone:", err)
		os.Exit(1)
	}
}

func run() error {
	address := flag.String("address", "127.0.0.1:8083", "host:port to listen on; put TLS before any other than loopback")
	file := flag.String("config", "softphone.json", "the page's settings")
	folder := flag.String("dir", "examples/web", "folder with page/ and vendor/")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	var c web.Config
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("the settings in %s are no JSON of the expected form: %w", *file, err)
	}
	handler, err := web.Handler(os.DirFS(filepath.Join(*folder, "page")), os.DirFS(filepath.Join(*folder, "vendor")), c)
	if err != nil {
		return err
	}
	fmt.Printf("The softphone is at http://%s/\n", *address)
	server := &http.Server{Addr: *address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
