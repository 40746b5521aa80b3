// The pause container, and a few words to try a node with: one static program in an image without anything else.
module coterie.dev/tests/cluster/toolbox

go 1.26.0
