"""Our own kernels for a processor, in C: built where they run, by the compiler that is there."""
