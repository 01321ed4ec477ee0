// Package mqadmin runs the official admin tool against Apogee and compares what it prints with what it printed against
// RocketMQ.
package mqadmin
