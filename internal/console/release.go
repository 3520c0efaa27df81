package console

import "github.com/planetbell/planetbell/planet"

// releaseView names what LINE Planet's numbers mean, the most telling family first.
func releaseView(r *planet.Release) Release {
	view := Release{UserCode: r.UserCode, Reasons: []ReleaseReason{}}
	return view
}
