// Package scenarios plays the same scenarios with every official client: what is sent, what has to come,
// and when. The clients are unchanged; each is driven through an actor in its own language.
package scenarios

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"apogee.test/clients/go/cluster"

	"apogee.test/clients/scenarios/actor"
)

// Scenarios wait for timers of the clients and the broker rather than for a processor, so more of them may run
// at once than there are processors; not so many that a machine that others use as well makes clients late.
const parallelTests = "20"

// settings of the broker under test. Transactions are asked after sooner than by default, so that
// nobody has to wait for half a minute.
var settings = []string{
	"enablePropertyFilter=true", "recallMessageEnable=true", "enableMixedMessageType=true",
	"transactionTimeOut=3000", "transactionCheckInterval=3000",
}

// shared serves every scenario that leaves the broker running.
var shared *cluster.Cluster

// folder has what actors and the shared broker write.
var folder string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	asked := false
	flag.Visit(func(given *flag.Flag) { asked = asked || given.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", parallelTests); err != nil {
			return fail(err)
		}
	}
	var err error
	if folder, err = os.MkdirTemp("", "apogee-clients-"); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(folder)
	shared, err = cluster.Shared(folder, settings...)
	if shared != nil {
		defer shared.Stop()
	}
	if err != nil {
		return fail(err)
	}
	code := m.Run()
	if code != 0 {
		showCompany()
	}
	stopCompany()
	if output := shared.Output(); code != 0 && output != "" {
		fmt.Fprintf(os.Stderr, "the shared broker said last:\n%s\n", output)
	}
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// company is the actors that all scenarios share, one for each client, started when first needed.
var company = struct {
	mutex  sync.Mutex
	actors map[string]*actor.Actor
}{actors: map[string]*actor.Actor{}}

// play returns the shared actor of a client.
func play(t *testing.T, who client) *actor.Actor {
	t.Helper()
	company.mutex.Lock()
	defer company.mutex.Unlock()
	if running := company.actors[who.name]; running != nil {
		return running
	}
	started, err := start(who, shared, who.name)
	if err != nil {
		t.Fatal(err)
	}
	company.actors[who.name] = started
	return started
}

// playAlone returns an actor that belongs to one scenario, which may kill it.
func playAlone(t *testing.T, who client, on *cluster.Cluster, flags ...string) *actor.Actor {
	t.Helper()
	alone, err := start(who, on, unique(who.name), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said last:\n%s", who.name, alone.Output())
		}
		alone.Stop()
	})
	return alone
}

func start(who client, on *cluster.Cluster, name string, flags ...string) (*actor.Actor, error) {
	address := on.GRPC
	if who.remoting {
		address = on.Nameserver
	}
	home := filepath.Join(folder, name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	// The clients write logs below the home folder.
	environment := []string{"HOME=" + home}
	command := append(append(slices.Clone(who.command), address), flags...)
	return actor.Start(who.name, command, environment, filepath.Join(home, "stderr.log"))
}

// showCompany prints what the shared actors wrote, for scenarios that failed do not say whose doing it was.
func showCompany() {
	company.mutex.Lock()
	defer company.mutex.Unlock()
	for name, running := range company.actors {
		fmt.Fprintf(os.Stderr, "%s said last:\n%s\n", name, running.Output())
	}
}

func stopCompany() {
	company.mutex.Lock()
	defer company.mutex.Unlock()
	for _, running := range company.actors {
		running.Stop()
	}
}
