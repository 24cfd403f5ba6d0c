/* A library that calls the driver for somebody, so that the caller lies in it. */
int call_for(int (*function)(unsigned));

int call_for(int (*function)(unsigned)) {
    int result = function(0);
    return result; /* no tail call: the return address is to be ours */
}
