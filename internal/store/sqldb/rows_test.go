package sqldb

import (
	"strings"
	"testing"
)

func TestDamagedRows(t *testing.T) {
	for text, says := range map[string]string{"a=%zz": "not kept as it should be", "%zz=a": "parameter 0"} {
		if _, err := decodeParams(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("decodeParams(%q) = %v", text, err)
		}
	}
	if at := (At{}); at.Scan("noon") == nil {
		t.Error("a text was read as a time")
	}
	if span := (Span{}); span.Scan(nil) == nil {
		t.Error("nothing was read as a duration")
	}
}
