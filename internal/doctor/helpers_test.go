package doctor

import (
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/fcm"
)

func probed(o bell.Outcome) fcm.Probed {
	return fcm.Probed{Project: "project", Token: bell.Outcome{Verdict: bell.Accepted}, Message: o}
}
