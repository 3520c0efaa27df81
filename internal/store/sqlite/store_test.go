package sqlite

import (
	"testing"

	"github.com/planetbell/planetbell/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return newStore(t) })
}
