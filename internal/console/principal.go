package console

import (
	"context"

	"github.com/planetbell/planetbell/internal/console/signin"
)

type principalKey struct{}

// principalOf returns who asks. Handlers of routes that want a role always find somebody;
// elsewhere it may be nobody, the zero value.
func principalOf(ctx context.Context) signin.Principal {
	p, _ := ctx.Value(principalKey{}).(signin.Principal)
	return p
}

func withPrincipal(ctx context.Context, p signin.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}
