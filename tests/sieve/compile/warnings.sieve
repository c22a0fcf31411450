# Actions in front of `encrypt` take the message as it is. A `redirect` behind it sends the encrypted one.
require ["vnd.perot.encrypt", "fileinto", "vacation"];
keep;
if true {
    encrypt;
    fileinto "behind";
}
redirect "x@t.org";
if encrypt { stop; }
vacation "An answer is no copy of the message.";
encrypt;
if true { fileinto "in another block"; }
encrypt;
redirect "y@t.org";
