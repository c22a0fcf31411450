# `encrypt` replaces the message whose parts the loop goes through.
require ["vnd.perot.encrypt", "foreverypart", "mime"];
foreverypart { encrypt; }
foreverypart { if true { if not encrypt "me@domain.com" { stop; } } }
foreverypart { break; }
encrypt;
