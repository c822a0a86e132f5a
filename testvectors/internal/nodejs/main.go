// Command nodejs runs a script with Node 20 or later, and says so and does nothing where there
// is none: what the script makes is in the repository.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
)

func main() {
	log.SetFlags(0)
	version, err := exec.Command("node", "--version").Output()
	major := 0
	if err == nil {
		_, _ = fmt.Sscanf(string(version), "v%d", &major)
	}
	if major < 20 {
		fmt.Printf("skipped: %v needs Node 20; the files stay as they are\n", os.Args[1:])
		return
	}
	cmd := exec.Command("node", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
}
