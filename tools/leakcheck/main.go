// Leakcheck searches what the tests left behind (log lines, errors, metric pages, the
// output of go test) for secrets. Every secret in a test carries a canary (package
// testlog), so a plain search finds it wherever it went. It exits 1 when it finds one,
// and also when there is nothing to search, because then it would prove nothing.
//
// Usage: leakcheck FOLDER
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/planetbell/planetbell/internal/testlog"
)

// needles are what must not be found. A JSON Web Token is a credential whatever it says:
// app tokens, PlanetKit access tokens and provider tokens all begin like this.
var needles = []struct {
	name string
	is   *regexp.Regexp
}{
	{"a hexadecimal secret (push token, API secret, key)", regexp.MustCompile(testlog.Hex)},
	{"a secret text (cc_param, FCM token, client key)", regexp.MustCompile(testlog.Text)},
	{"a JSON Web Token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}`)},
	// The beginning of PKCS#8 in base64, for EC P-256 and for RSA: "BEGIN PRIVATE KEY" alone
	// also stands in sentences that say what a key file looks like.
	{"a private key", regexp.MustCompile(`MIGHAgEAMBMGByqGSM49|MII[A-Za-z0-9+/]{2,4}BADANBgkqhkiG9w0B`)},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: leakcheck FOLDER")
		os.Exit(2)
	}
	lines, found, err := search(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "leakcheck:", err)
		os.Exit(1)
	}
	for _, f := range found {
		fmt.Println(f)
	}
	fmt.Printf("leakcheck: %d lines searched, %d with a secret\n", lines, len(found))
	if lines == 0 || len(found) > 0 {
		os.Exit(1)
	}
}

// search reads every file below folder and returns how many lines there were and which
// of them hold a secret. It never repeats the secret.
func search(folder string) (lines int, found []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "cover.out" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		scanner := bufio.NewScanner(f)
		scanner.Buffer(nil, 16<<20)
		for n := 1; scanner.Scan(); n++ {
			lines++
			if what := leak(scanner.Bytes()); what != "" {
				found = append(found, fmt.Sprintf("%s:%d: %s", path, n, what))
			}
		}
		return scanner.Err()
	})
	return lines, found, err
}

func leak(line []byte) string {
	if len(bytes.TrimSpace(line)) == 0 {
		return ""
	}
	for _, n := range needles {
		if n.is.Match(line) {
			return n.name
		}
	}
	return ""
}
