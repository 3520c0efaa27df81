package doctor

import "context"

// webPush looks at the VAPID keys.
func (e *exam) webPush(context.Context) {
	e.skip("", "no project has Web Push")
}
