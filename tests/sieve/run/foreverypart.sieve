# Not in a loop over the parts of the message that it replaces.
require ["vnd.perot.encrypt", "foreverypart"];
foreverypart { encrypt; }
