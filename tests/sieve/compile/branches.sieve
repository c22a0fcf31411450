# Only actions from which the script can come to `encrypt` draw a warning.
require ["vnd.perot.encrypt", "fileinto", "foreverypart", "mime"];
if size :over 10 {
    if size :over 20 { fileinto "in a block of a block"; }
    elsif size :over 15 { fileinto "its branch ends"; stop; }
} elsif size :over 8 {
    fileinto "its branch ends, too";
    stop;
} else {
    encrypt;
}
if header :is "Subject" "reads every part" {
    foreverypart { fileinto "in a loop"; }
    encrypt;
    stop;
}
if encrypted {
    fileinto "it is encrypted";
} elsif allof (size :over 5, not encrypt "me@domain.com") {
    fileinto "it is not";
    redirect "in-clear@t.org";
} elsif anyof (encrypted, encrypt :force) {
    redirect "encrypted@t.org";
    fileinto "it is encrypted now";
}
encrypt;
