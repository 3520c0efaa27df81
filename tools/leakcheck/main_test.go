package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSearchFindsEachKind(t *testing.T) {
	// Put together here, so that this file and a failure's output hold no secret.
	lines := map[string]string{
		"hex":  "push to " + "5ec2e7" + "5ec2e7" + "00",
		"text": "param=" + "CANA" + "RY-1",
		"jwt":  "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJhIn0abc." + strings.Repeat("x", 20),
		"ec":   "MIGHAgEAMBMG" + "ByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg",
		"rsa":  "MIIEvgIBADAN" + "BgkqhkiG9w0BAQEFAASCBKgwggSkAgEA",
	}
	for name, line := range lines {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("clean\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		n, found, err := search(dir)
		if err != nil || n != 2 || len(found) != 1 {
			t.Errorf("%s: %d lines, found %d, error %v; want 2 lines and 1 found", name, n, len(found), err)
		}
		for _, f := range found {
			if strings.Contains(f, line) {
				t.Errorf("%s: the report repeats the secret", name)
			}
		}
	}
}

func TestSearchOfCleanLines(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("a call rang\n\ntoken=<secret>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, found, err := search(dir)
	if err != nil || n != 3 || len(found) != 0 {
		t.Errorf("%d lines, found %v, error %v; want 3 clean lines", n, found, err)
	}
}
