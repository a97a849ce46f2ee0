//go:build suite

// What the upstream suite consists of, so that go.mod knows what it needs.

package main

import (
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
