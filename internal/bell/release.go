package bell

import (
	"cmp"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// ReleaseReason is one of LINE Planet's numbers that say why a call ended, with its meaning.
// The JSON names are those of the admin API and of outgoing events.
type ReleaseReason struct {
	Family  string `json:"family"` // disconnect_reason, call_end_reason, rel_code or terminate
	Code    int    `json:"code"`
	Name    string `json:"name,omitempty"`
	Meaning string `json:"meaning,omitempty"`
}

// ReleaseReasons names what LINE Planet's numbers mean, the most telling family first: its
// own current numbers, its old ones, the ones for debugging, and the one for statistics.
func ReleaseReasons(r *planet.Release) []ReleaseReason {
	reasons := []ReleaseReason{}
	for _, family := range []struct {
		name    string
		code    *int
		explain func(int) planet.ReasonInfo
		as      string // the name that came with the number
	}{
		{"disconnect_reason", r.DisconnectReason, planet.DisconnectReason, ""},
		{"call_end_reason", r.CallEndReason, planet.CallEndReason, ""},
		{"rel_code", r.Code, planet.ReleaseCode, r.CodeName},
		{"terminate", r.Terminate, planet.TerminateReason, ""},
	} {
		if family.code == nil {
			continue
		}
		info := family.explain(*family.code)
		if !info.Known { // the name that came is better than none
			info.Name = family.as
		}
		reasons = append(reasons, ReleaseReason{Family: family.name, Code: *family.code, Name: info.Name, Meaning: info.Meaning})
	}
	return reasons
}

// EndedBy is who ended the call, in one word: caller, callee, cloud_server, ...
func EndedBy(r *planet.Release) string {
	if r.ReleaserType == nil {
		return strings.ToLower(r.Releaser)
	}
	info := planet.ReleaserType(*r.ReleaserType)
	if !info.Known || *r.ReleaserType == 0 {
		return strings.ToLower(cmp.Or(r.Releaser, info.Name))
	}
	return strings.ToLower(info.Name)
}
