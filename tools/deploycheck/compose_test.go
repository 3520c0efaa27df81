package deploycheck

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What stands in two files of the composition is the same in both.
func TestTheCompositionBelongsTogether(t *testing.T) {
	compose := documents(t, "compose.yaml")[0]
	services := at(t, compose, "services").(map[string]any)
	nodes := 0
	for name := range services {
		if strings.HasPrefix(name, "planetbell-") {
			nodes++
		}
	}
	balanced := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{NODE_\d-([a-z0-9-]+):8080\}`).FindAllStringSubmatch(read(t, "compose/haproxy.cfg"), -1) {
		if balanced[m[1]] = true; services[m[1]] == nil {
			t.Errorf("haproxy.cfg sends to %s, which is no service", m[1])
		}
	}
	if nodes < 2 || len(balanced) != nodes {
		t.Errorf("%d nodes, and the load balancer knows %d", nodes, len(balanced))
	}
	subnet := at(t, compose, "networks", "inside", "ipam", "config", 0, "subnet")
	if proxies := at(t, documents(t, "compose/planetbell.yaml")[0], "public", "trusted_proxies").([]any); !slices.Contains(proxies, subnet) {
		t.Errorf("the load balancer is in %v, and planetbell trusts %v", subnet, proxies)
	}
	var most int
	for _, word := range at(t, services, "postgres", "command").([]any) {
		if number, ok := strings.CutPrefix(word.(string), "max_connections="); ok {
			most, _ = strconv.Atoi(number)
		}
	}
	// config.example.yaml says how many a node keeps. One node more while the nodes are replaced, and
	// what listens and looks besides.
	example, err := os.ReadFile("../../config.example.yaml")
	kept := regexp.MustCompile(`connections, else (\d+);`).FindSubmatch(example)
	if err != nil || kept == nil {
		t.Fatalf("config.example.yaml does not say how many connections a node keeps: %v", err)
	}
	each, _ := strconv.Atoi(string(kept[1]))
	if need := (nodes+1)*each + 20; most < need {
		t.Errorf("PostgreSQL takes %d connections, the nodes may want %d", most, need)
	}
	if profiles := at(t, services, "nats", "profiles").([]any); !slices.Contains(profiles, any("nats")) {
		t.Errorf("NATS starts with profiles %v", profiles)
	}
	polls := at(t, documents(t, "compose/planetbell.yaml")[0], "limits", "long_polls").(int)
	if files := at(t, compose, "x-planetbell", "ulimits", "nofile", "soft").(int); files < polls+1000 {
		t.Errorf("%d polls may wait, with %d file descriptors", polls, files)
	}
}
