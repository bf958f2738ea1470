<?php
// work.php TIMES: arrays, strings, objects in cycles, and the modules that PHP loads: DOM, mbstring, SQLite, JSON, tokenizer, phar.
$times = (int)($argv[1] ?? 1);
mt_srand(7);
$sum = hash_init('sha256');

function words(int $n): array
{
    $words = [];
    for ($i = 0; $i < $n; $i++)
        $words[] = substr(md5((string)mt_rand()), 0, mt_rand(1, 30)) . (mt_rand(0, 9) ? '' : 'äöü€');
    return $words;
}

class Node
{
    public array $children = [];
    public function __construct(public string $name, public ?Node $parent = null) {}
}

for ($round = 0; $round < $times; $round++) {
    $words = words(40000);
    sort($words);
    $by_length = [];
    foreach ($words as $word)
        $by_length[mb_strlen($word)][] = mb_strtoupper($word);
    ksort($by_length);
    hash_update($sum, json_encode($by_length, JSON_UNESCAPED_UNICODE));

    $document = new DOMDocument();
    $root = $document->appendChild($document->createElement('words'));
    foreach (array_slice($words, 0, 5000) as $i => $word) {
        $element = $root->appendChild($document->createElement('word', $word));
        $element->setAttribute('number', (string)$i);
    }
    $text = $document->saveXML();
    $again = new DOMDocument();
    $again->loadXML($text);
    $found = (new DOMXPath($again))->query('//word[@number mod 7 = 3]');
    hash_update($sum, $text . $found->length . simplexml_load_string($text)->word[17]);

    $database = new PDO('sqlite::memory:');
    $database->exec('create table words (word text, length int)');
    $insert = $database->prepare('insert into words values (?, ?)');
    $database->beginTransaction();
    foreach (array_slice($words, 0, 10000) as $word)
        $insert->execute([$word, strlen($word)]);
    $database->commit();
    foreach ($database->query('select length, count(*), min(word) from words group by length order by length') as $row)
        hash_update($sum, implode(',', $row));

    for ($i = 0; $i < 2000; $i++) {
        $tree = new Node("root $i");
        for ($k = 0; $k < 10; $k++)
            $tree->children[] = new Node("child $k", $tree);
    }
    hash_update($sum, serialize(array_map(fn($child) => $child->name, $tree->children)));
    hash_update($sum, count(token_get_all(file_get_contents(__FILE__))) . preg_replace_callback('/[a-f]+/', fn($m) => strrev($m[0]), implode(' ', $words)));
    gc_collect_cycles();
}
echo hash_final($sum), "\n", count(get_loaded_extensions()) > 20 ? "with its modules\n" : "without modules\n";
