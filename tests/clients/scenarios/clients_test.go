package scenarios

import (
	"path/filepath"
	"testing"
	"time"
)

// prepared is where tests/clients/prepare puts the actors.
const prepared = "../../../target/clients"

// client is an official client and what it offers. A scenario is played by every client that offers what
// it needs.
type client struct {
	name    string
	command []string
	// remoting clients are given the nameserver, the others the gRPC door.
	remoting bool

	simple, push, sql, checks, recall bool
	// changesInvisible tells that a simple consumer can move the time of a message.
	changesInvisible bool
	// transactions that are ended by a call of their own, not by a listener's answer.
	transactions bool
	// orderedPush tells that a push consumer keeps the order of message groups.
	orderedPush bool
	// skipsCertificateCheck tells that a server with a certificate of its own making can be used.
	skipsCertificateCheck bool
	// retriesAtOnce tells that a failed message is asked for again at once, whatever the server's table says.
	retriesAtOnce bool
	// needsExponentialBackoff tells that the server's table is not understood, and ordered messages fail
	// for good at the first attempt.
	needsExponentialBackoff bool
	// overtakesFailed tells that an ordered push consumer goes on while a failed message waits.
	overtakesFailed bool
	// tellsDeliveryTime tells that received messages have their delivery time.
	tellsDeliveryTime bool
	// await is how long a simple consumer is to wait for messages, unless it is the usual time.
	await time.Duration
	// delayStep is the finest delivery time that the client can express.
	delayStep time.Duration
}

var grpcGo = client{
	name: "grpc-go", command: []string{filepath.Join(prepared, "grpc-go")},
	simple: true, changesInvisible: true, push: true, sql: true, checks: true, recall: true, transactions: true, orderedPush: true,
	skipsCertificateCheck: true, overtakesFailed: true, tellsDeliveryTime: true, delayStep: time.Millisecond,
}

var grpcPython = client{
	name: "grpc-python", command: []string{filepath.Join(prepared, "grpc-python/bin/python"), "../grpc-python/main.py"},
	simple: true, changesInvisible: true, push: true, sql: true, checks: true, recall: true, transactions: true, orderedPush: true,
	tellsDeliveryTime: true, delayStep: time.Second,
}

var grpcNodejs = client{
	name: "grpc-nodejs", command: []string{"node", filepath.Join(prepared, "grpc-nodejs/main.js")},
	simple: true, changesInvisible: true, push: true, sql: true, checks: true, recall: true, transactions: true, orderedPush: true,
	retriesAtOnce: true, needsExponentialBackoff: true, tellsDeliveryTime: true, delayStep: time.Millisecond,
}

// The time limit of this client's receive calls is the time for which it wants to wait.
var grpcRust = client{
	name: "grpc-rust", command: []string{filepath.Join(prepared, "grpc-rust")},
	simple: true, sql: true, checks: true, transactions: true, tellsDeliveryTime: true, await: 8 * time.Second, delayStep: time.Second,
}

// java is a small virtual machine: several run at once.
func java(folder, main string) []string {
	return []string{
		"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(prepared, folder, "*"), main,
	}
}

var grpcJava = client{
	name: "grpc-java", command: java("grpc-java", "apogee.grpc.Main"),
	simple: true, changesInvisible: true, push: true, sql: true, checks: true, recall: true, transactions: true, orderedPush: true,
	skipsCertificateCheck: true, tellsDeliveryTime: true, delayStep: time.Millisecond,
}

// The remoting clients have scenarios with others. What they do alone is tested beside, in ../go, and by
// recorded traffic.
var (
	remotingGo = client{
		name: "remoting-go", command: []string{filepath.Join(prepared, "remoting-go")}, remoting: true, delayStep: time.Millisecond,
	}
	remotingJava = client{
		name: "remoting-java", command: java("remoting-java", "apogee.remoting.Main"), remoting: true, delayStep: time.Millisecond,
	}
)

var clients = []client{grpcGo, grpcPython, grpcNodejs, grpcRust, grpcJava}

// forEach plays a scenario with every client that offers what it needs, side by side.
func forEach(t *testing.T, offers func(client) bool, scenario func(*testing.T, client)) {
	t.Helper()
	t.Parallel()
	for _, who := range clients {
		if offers(who) {
			t.Run(who.name, func(t *testing.T) {
				t.Parallel()
				scenario(t, who)
			})
		}
	}
}

func offersSimple(who client) bool { return who.simple }
func offersChange(who client) bool { return who.simple && who.changesInvisible }
func offersPush(who client) bool   { return who.push }
func offersOrder(who client) bool  { return who.orderedPush }
